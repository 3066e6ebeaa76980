"""What those who check and break things ask for: records, counts, bulk articles and faults."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from playground.faults.clients import Clients
from playground.faults.fault import NotAFaultError, parse
from playground.faults.plan import FaultPlan
from playground.store import Store
from playground.traffic import Traffic

_MOST_BULK = 10_000


class Control:
    def __init__(self, store: Store, traffic: Traffic, plan: FaultPlan, clients: Clients) -> None:
        self._store = store
        self._traffic = traffic
        self._plan = plan
        self._clients = clients

    def routes(self) -> list[Route]:
        return [
            Route("/control/comments", self.comments),
            Route("/control/articles", self.articles, methods=["GET", "POST"]),
            Route("/control/requests", self.requests, methods=["GET", "DELETE"]),
            Route("/control/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/control/client", self.client, methods=["POST"]),
        ]

    async def comments(self, _: Request) -> Response:
        return JSONResponse(
            [
                {
                    "id": comment.id,
                    "article_id": comment.article_id,
                    "author": comment.author,
                    "text": comment.text,
                    "status": comment.status,
                    "hidden": comment.hidden,
                    "created_at": comment.created_at.isoformat(),
                }
                for comment in self._store.comments.values()
            ]
        )

    async def articles(self, request: Request) -> Response:
        if request.method == "POST":
            asked = await _json(request)
            return JSONResponse({"ids": self._store.add_bulk(*_bulk(asked))}, 201)
        return JSONResponse(
            [
                {
                    "id": article.id,
                    "tab": str(article.tab),
                    "title": article.text.title,
                    "author": article.text.author,
                    "category": article.text.category,
                    "task": article.text.task,
                    "status": article.text.status,
                    "updated_at": article.updated_at.isoformat(),
                }
                for article in self._store.visible_articles()
            ]
        )

    async def requests(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._traffic.reset()
            return Response(status_code=204)
        return JSONResponse(self._traffic.summary())

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._plan.clear()
            return Response(status_code=204)
        if request.method == "GET":
            return JSONResponse(self._plan.listed())
        fault = parse(await _json(request))
        if fault.pid is not None:
            self._clients.allow(fault.pid)
        return JSONResponse(self._plan.add(fault), 201)

    async def client(self, request: Request) -> Response:
        asked = await _json(request)
        self._clients.tell(asked.get("pid"))
        return JSONResponse(asked, 201)


def refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _json(request: Request) -> dict[str, Any]:
    # A page elsewhere cannot send this type without asking first, so it cannot plan a fault.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise NotAFaultError("send JSON with Content-Type: application/json")
    try:
        asked = json.loads(await request.body())
    except ValueError as error:
        raise NotAFaultError("the body is not JSON") from error
    if not isinstance(asked, dict):
        raise NotAFaultError("the body must be a JSON object")
    return asked


def _bulk(asked: dict[str, Any]) -> tuple[int, int]:
    tab, count = str(asked.get("tab", "")), asked.get("count")
    if not (tab.isascii() and tab.isdigit() and len(tab) < 10):  # noqa: PLR2004 (as long as an id gets)
        raise NotAFaultError("tab must be the number of a class")
    if type(count) is not int or not 1 <= count <= _MOST_BULK:
        raise NotAFaultError(f"count must be from 1 to {_MOST_BULK}")
    return int(tab), count
