"""What the OpenAPI document says beside the routes themselves: how to sign in, and what an error looks like."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from console.api.problems import ProblemDocument

_REFERENCE = "#/components/schemas/{model}"
_SAFE = ("get", "head", "options")
TOKEN, COOKIE, FORM = "token", "session", "form"
SCHEMES: dict[str, Any] = {
    TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token: a person makes it under Account or with POST /api/v1/tokens.",
    },
    COOKIE: {
        "type": "apiKey",
        "in": "cookie",
        "name": "pressroom_session",
        "description": "A browser's session; its name begins with __Host- where TLS is spoken.",
    },
    FORM: {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "What a change needs beside a session's cookie; a token needs none.",
    },
}
TAGS = {
    "processes": "What is watched, with which logins, templates and provider, and how it goes.",
    "comments": "What was written about which article, what became of it, and what people decide on it.",
    "failures": "What went wrong, grouped by cause, and trying it again.",
    "logins": "Accounts on a site. What is secret is written and never read.",
    "providers": "Models behind an OpenAI-compatible endpoint, their prices and budgets.",
    "templates": "The prompts that a model is given.",
    "comparisons": "Two templates over past articles, side by side. Nothing of it is ever posted.",
    "runs": "One tick of a stage, now.",
    "monitoring": "How each kind of task does, what each one did, and trying again what failed.",
    "overview": "Every process at a glance, what is wrong right now, and what of the budgets is used.",
    "people": "Who I am, and the users.",
    "tokens": "My API tokens.",
    "audit": "Who changed what.",
    "alerts": "What was found wrong, and whom it was told.",
    "health": "What is well and what is not.",
}


def operation_id(route: APIRoute) -> str:
    """Such as `processes.start`."""
    return ".".join([*map(str, route.tags[:1]), route.name])


def describe(app: FastAPI) -> None:
    """Complete what the framework writes, when it is first asked for."""
    written: Callable[[], dict[str, Any]] = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(written())
        return written()

    app.openapi = complete  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    problem = ProblemDocument.model_json_schema(ref_template=_REFERENCE)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(problem.pop("$defs", {}) | {ProblemDocument.__name__: problem})
    components["securitySchemes"] = SCHEMES
    document["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    for item in document["paths"].values():
        for method, operation in item.items():
            session: dict[str, list[str]] = {COOKIE: []} if method in _SAFE else {COOKIE: [], FORM: []}
            operation["summary"] = operation.get("description", operation["summary"]).split(". ")[0].rstrip(".")
            operation["security"] = [{TOKEN: []}, session]
