"""Pages from templates: `render(request, "people.html", people=…)`; a part of one with `fragment(request, …, "rows")`.

Every template has `_()` and `ngettext()`, the filters `when`, `moment`, `number` and `sentence`, `csrf_field()`,
`static(name)`, `actor` and `flashes`; forms.html has the fields of forms. Resolve the actor (`actor: Viewer`) before
rendering: the navigation depends on it.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from console.pages import flash
from console.pages.language import language, language_of
from console.security import csrf

HERE = Path(__file__).parent
STATIC = HERE / "static"

# What the navigation names: address, English words, and whether only administrators see it.
NAVIGATION = (
    ("/", "Overview", False),
    ("/review", "Review", False),
    ("/comments", "Comments", False),
    ("/failures", "Failures", False),
    ("/tasks", "Tasks", False),
    ("/logins", "Logins", False),
    ("/providers", "Providers", False),
    ("/templates", "Templates", False),
    ("/compare", "Compare", False),
    ("/people", "People", True),
    ("/alerts", "Alerts", True),
    ("/audit", "Audit", True),
)


@lru_cache
def environment(code: str) -> Environment:
    """One a language, so that a compiled template is made once."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    spoken = language(code)
    made.install_gettext_callables(spoken.gettext, spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {"when": spoken.when, "moment": spoken.moment, "number": spoken.number, "sentence": spoken.sentence}
    made.filters["money"] = spoken.money
    made.globals |= {"static": static}
    return made


@lru_cache
def static(name: str) -> str:
    """The address of a static file, new when its content is: so it may be cached for good."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={mark}"


def render(request: Request, template: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    spoken = language_of(request)
    text = environment(spoken.code).get_template(template).render(_context(request, context))
    return _answer(text, status_code, spoken.code)


def fragment(request: Request, template: str, block: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    """One `{% block %}` of a template, for htmx: a page and its live part share template and context."""
    spoken = language_of(request)
    found = environment(spoken.code).get_template(template)
    text = "".join(found.blocks[block](found.new_context(_context(request, context))))
    return _answer(text, status_code, spoken.code)


def _answer(text: str, status_code: int, code: str) -> HTMLResponse:
    headers = {"Content-Language": code, "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(text, status_code, headers)


def _context(request: Request, given: dict[str, Any]) -> dict[str, Any]:
    token = csrf.token_of(request)
    shared: dict[str, Any] = {
        "request": request,
        "path": request.url.path,
        "actor": getattr(request.state, "actor", None),
        "language": language_of(request).code,
        "navigation": NAVIGATION,
        "csrf_token": token,
        "csrf_field": lambda: Markup('<input type="hidden" name="{}" value="{}">').format(csrf.FIELD, token),
        "flashes": flash.taken(request),
        "errors": {},
    }
    return shared | given


def is_htmx(request: Request) -> bool:
    """Whether htmx asks for a part, not the browser for a page."""
    return request.headers.get("HX-Request") == "true"


def redirect(request: Request, path: str, say: str | None = None, kind: flash.Kind = "success") -> Response:
    """After a change: to this page of ours, which says `say` (in the reader's language already) at its top."""
    if say is not None:
        flash.add(request, say, kind)
    if is_htmx(request):
        return Response(headers={"HX-Redirect": path})
    return RedirectResponse(path, status_code=303)
