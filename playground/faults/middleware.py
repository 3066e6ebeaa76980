"""The one place where faults are decided: around the routes, which know nothing of them."""

import asyncio
import json
import re
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from playground.faults import answers
from playground.faults.clients import Clients
from playground.faults.fault import LLM_KINDS, Fault
from playground.faults.plan import Asked, FaultPlan
from playground.faults.wire import Answer, Connection, capture, read_body
from playground.site.views import LOGIN_PATH, SESSION_COOKIE
from playground.store import Store
from playground.traffic import Traffic

_ROUTES = (
    ("login", re.compile(re.escape(LOGIN_PATH))),
    ("index", re.compile(r"/articles/")),
    ("comment", re.compile(r"/article/(\d+)/comment/")),
    ("article", re.compile(r"/article/(\d+)/")),
    ("llm", re.compile(r"/llm/v1/chat/completions")),
    ("control", re.compile(r"/control/.*")),
    ("other", re.compile(r".*", re.DOTALL)),
)


class FaultMiddleware:
    """Counts every request and lets the planned faults happen to it."""

    def __init__(self, app: ASGIApp, store: Store, traffic: Traffic, plan: FaultPlan, clients: Clients) -> None:
        self._app = app
        self._store = store
        self._traffic = traffic
        self._plan = plan
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/control/"):
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        asked = self._asked(scope, body)
        self._traffic.arrived(asked.route, asked.user)
        client_port = scope["client"][1] if scope.get("client") else None
        faults = self._plan.take(asked, lambda fault: self._clients.is_ready(fault, client_port))
        is_llm = asked.route == "llm"
        if is_llm:
            self._traffic.llm_started()
        try:
            await self._serve(Connection(scope, receive, send), asked, body, faults)
        finally:
            if is_llm:
                self._traffic.llm_ended()

    async def _serve(self, connection: Connection, asked: Asked, body: bytes, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.when == "before_accept" and await self._is_over_before(fault, connection, asked):
                return
        answer: Answer | None = await capture(self._app, connection, body)
        for fault in faults:
            if fault.when == "after_accept" and answer is not None:
                answer = await self._after(fault, connection, answer, body)
        if answer is None:
            return
        self._traffic.answered(asked.route, answer.status)
        await connection.answer(answer)
        for fault in faults:
            if fault.when == "after_answer":
                await connection.flushed()
                self._clients.kill(fault)

    async def _is_over_before(self, fault: Fault, connection: Connection, asked: Asked) -> bool:
        """Let a fault happen before anything takes effect; whether the request ends with it."""
        match fault.kind:
            case "latency":
                await asyncio.sleep(fault.seconds)
                return False
            case "expire_session":
                for user in filter(None, (fault.user or asked.user,)):
                    self._store.expire_sessions(user)
                return False
            case "status" | "rate_limit" | "wrong_key":
                answer = _refusal(fault, asked.route)
                self._traffic.answered(asked.route, answer.status)
                await connection.answer(answer)
            case "kill_client":
                self._clients.kill(fault)
                await connection.drop()
            case _:
                await connection.drop(reset=fault.reset)
        return True

    async def _after(self, fault: Fault, connection: Connection, answer: Answer, body: bytes) -> Answer | None:
        """Let a fault happen to an answer whose effect stands; the answer still to be sent, if any."""
        if fault.kind in LLM_KINDS:
            return answers.spoiled(fault.kind, answer, body)
        match fault.kind:
            case "latency":
                await asyncio.sleep(fault.seconds)
                return answer
            case "status" | "rate_limit":
                return _refusal(fault, "llm" if answer.is_json else "")
            case "malformed":
                return answers.malformed(answer)
            case "drip":
                await connection.drip(answer, fault.bytes_per_s)
            case "truncate":
                await connection.truncate(answer)
            case "oversize":
                await connection.oversize(answer, fault.mb)
            case "kill_client":
                self._clients.kill(fault)
                await connection.drop()
            case _:
                await connection.drop(reset=fault.reset)
        return None

    def _asked(self, scope: Scope, body: bytes) -> Asked:
        for route, pattern in _ROUTES:
            if match := pattern.fullmatch(scope["path"]):
                article_id = int(match[1][:18]) if match.groups() else None
                return Asked(route, scope["method"], self._user(route, scope, body), article_id)
        raise AssertionError("the last pattern matches any path")

    def _user(self, route: str, scope: Scope, body: bytes) -> str | None:
        """Who is logged in, or for a log-in, who wants to be."""
        if route == "login":
            return parse_qs(body.decode("latin-1")).get("username", [None])[0]
        headers = dict(scope["headers"])
        cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
        return self._store.username(cookies.get(SESSION_COOKIE, ""))


def _refusal(fault: Fault, route: str) -> Answer:
    status = {"rate_limit": 429, "wrong_key": 401}.get(fault.kind, fault.status)
    reason = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    body = f"<html><head><title>{status} {reason}</title></head><body><h1>{reason}</h1></body></html>"
    if route == "llm":
        headers = [(b"content-type", b"application/json")]
        code = {429: "rate_limit_exceeded", 401: "invalid_api_key"}.get(status)
        body = json.dumps({"error": {"message": reason, "type": "api_error", "param": None, "code": code}})
    if fault.retry_after is not None or fault.kind == "rate_limit":
        headers.append((b"retry-after", f"{fault.retry_after or 1:g}".encode()))
    return Answer(status, tuple(headers), b"").with_body(body.encode())
