"""The API's documentation, made from its own description: no script, nothing from elsewhere."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.pages.rendering import render
from console.security.actor import Anyone

router = APIRouter()

_METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/docs")
async def documentation(request: Request, actor: Anyone) -> Response:
    del actor  # the page's head shows it
    described = request.app.openapi()
    routes = [
        _route(path, method, item[method])
        for path, item in described["paths"].items()
        for method in _METHODS
        if method in item
    ]
    schemas = sorted(described.get("components", {}).get("schemas", {}).items())
    return render(request, "docs.html", routes=routes, schemas=[(name, _members(schema)) for name, schema in schemas])


def _route(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    answers = operation.get("responses", {}).items()
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("description") or operation.get("summary", ""),
        "tag": (operation.get("tags") or ["other"])[0],
        "parameters": [
            (
                each["name"],
                each["in"],
                words(each.get("schema", {})),
                each.get("required", False),
                each.get("description", ""),
            )
            for each in operation.get("parameters", [])
        ],
        "body": next((words(each.get("schema", {})) for each in body.values()), None),
        "answers": [
            (code, answer.get("description", ""), _content(answer)) for code, answer in answers if code != "default"
        ],
    }


def _content(answer: dict[str, Any]) -> str:
    return next((words(each.get("schema", {})) for each in answer.get("content", {}).values()), "")


def _members(schema: dict[str, Any]) -> list[tuple[str, str, bool, str]]:
    needed = schema.get("required", [])
    found = schema.get("properties", {}).items()
    return [(name, words(each), name in needed, each.get("description", "")) for name, each in found]


def words(schema: dict[str, Any]) -> str:
    """A schema in a few words: `array of UserDocument`, `string or null`, `one of viewer, operator, admin`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(words(each) for each in schema[several])
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"array of {words(schema.get('items', {}))}"
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind
