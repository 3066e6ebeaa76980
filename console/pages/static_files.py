"""Static files. Their address names their content (`static()` in templates), so a browser keeps them for good."""

from starlette.responses import Response
from starlette.staticfiles import StaticFiles as Files
from starlette.types import Scope

_FOR_GOOD = "public, max-age=31536000, immutable"
_FOR_A_MOMENT = "public, max-age=60"


class StaticFiles(Files):
    """The same, with the header that says how long."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code < 400:  # noqa: PLR2004 - what begins with 4 is an error
            named = scope["query_string"].startswith(b"v=")
            response.headers["Cache-Control"] = _FOR_GOOD if named else _FOR_A_MOMENT
        return response
