"""Providers: the models that write. A preset fills in what is known of a service; a key is never shown again."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel

from console.desk import given, holdings
from console.desk import providers as desk
from console.desk.providers import CLEARABLE, ProviderChange
from console.desk.visit import Visit
from console.pages import typed
from console.pages.language import language_of
from console.pages.rendering import fragment, is_htmx, redirect, render
from console.pages.trying import tried
from console.pages.typed import WHOLE_FORM, errors_of, status_of
from console.record import Record
from console.security.actor import Operator, Viewer, visit_of
from console.security.state import console_of
from lib.errors import Conflict, Invalid, NotFound, PressroomError, Transient
from lib.monitoring import presets

router = APIRouter(prefix="/providers")

T = TypeVar("T")
FORM = "provider_form.html"
# On top of the time that a call of the model may take.
SECONDS_MORE = 5.0
# A budget below 0 is taken away.
NO_BUDGET = -1
WHOLE = {
    "max_tokens": "The longest answer",
    "max_concurrency": "The number of calls at once",
    "budget_tokens": "The budget of tokens",
}
AMOUNTS = {
    "temperature": "The temperature",
    "input_price": "The price of prompts",
    "output_price": "The price of answers",
    "budget_money": "The budget of money",
}


class ProviderForm(BaseModel):
    """As it was typed. Without a key the present one stays."""

    preset: str = ""
    name: str = ""
    base_url: str = ""
    model: str = ""
    key: str = ""
    max_tokens: str = ""
    temperature: str = ""
    max_concurrency: str = ""
    input_price: str = ""
    output_price: str = ""
    currency: str = "USD"
    budget_tokens: str = ""
    budget_money: str = ""
    is_active: bool = False
    test: bool = False
    version: str = ""

    def shown(self) -> Record:
        return self.model_dump(exclude={"key"})


Typed = Annotated[ProviderForm, Form()]


class _Numbers:
    """The numbers of a form, each read on its own: what is wrong with every one of them is known at once."""

    def __init__(self, request: Request, form: ProviderForm) -> None:
        self.errors: dict[str, str] = {}
        self._request = request
        self._form = form
        self.whole = {name: self._read(typed.whole, name, what) for name, what in WHOLE.items()}
        self.amounts = {name: self._read(typed.amount, name, what) for name, what in AMOUNTS.items()}

    def _read(self, read: Callable[[str, str, str], T | None], name: str, what: str) -> T | None:
        try:
            return read(getattr(self._form, name), what, name)
        except Invalid as error:
            self.errors |= errors_of(self._request, error)
            return None

    @property
    def empty(self) -> frozenset[str]:
        return frozenset(name for name, value in (self.whole | self.amounts).items() if value is None)


def _wanted(form: ProviderForm, numbers: _Numbers) -> ProviderChange:
    """What is empty is to have no value."""
    whole, amounts = numbers.whole, numbers.amounts
    temperature = amounts["temperature"]
    return ProviderChange(
        name=form.name,
        base_url=form.base_url,
        model=form.model,
        key=(lambda: form.key) if form.key.strip() else None,
        preset=form.preset or None,
        max_tokens=whole["max_tokens"],
        max_concurrency=whole["max_concurrency"],
        temperature=None if temperature is None else float(temperature),
        input_price=amounts["input_price"],
        output_price=amounts["output_price"],
        currency=form.currency,
        budget_tokens=NO_BUDGET if whole["budget_tokens"] is None else whole["budget_tokens"],
        budget_money=Decimal(NO_BUDGET) if amounts["budget_money"] is None else amounts["budget_money"],
        is_active=form.is_active,
        cleared=numbers.empty & CLEARABLE,
    )


@router.get("")
async def listed(request: Request, actor: Viewer) -> Response:
    return render(request, "providers.html", providers=await holdings.providers(visit_of(request, actor)))


@router.get("/new")
async def new(request: Request, actor: Operator, preset: str = "") -> Response:
    """With what the preset knows, if one was chosen."""
    del actor
    chosen = presets.PRESETS.get(preset)
    form = ProviderForm(is_active=True, test=True)
    if chosen is not None:
        form = form.model_copy(
            update={
                "preset": chosen.name,
                "name": chosen.label,
                "base_url": chosen.base_url,
                "model": chosen.model,
                "max_tokens": typed.plain(chosen.max_tokens),
            }
        )
    return _form(request, None, form.shown())


@router.post("/new")
async def add(request: Request, actor: Operator, form: Typed) -> Response:
    """Nothing is saved when the call that was asked for does not work."""
    numbers = _Numbers(request, form)
    if numbers.errors:
        return _form(request, None, form.shown(), 422, errors=numbers.errors)
    try:
        made = await _added(visit_of(request, actor), form, _wanted(form, numbers))
    except PressroomError as error:
        return _form(request, None, form.shown(), status_of(error), errors=_wrong(request, error))
    words = language_of(request).gettext("The provider “%(name)s” is saved.") % {"name": made["name"]}
    return redirect(request, f"/providers/{made['id']}", words)


async def _added(visit: Visit, form: ProviderForm, wanted: ProviderChange) -> Record:
    seconds = _seconds(visit)
    try:
        async with asyncio.timeout(seconds):
            return await desk.add(visit, form.name, wanted, wanted.key, test=form.test)
    except TimeoutError as error:
        raise Transient(f"There was no answer within {seconds:.0f} seconds{given.NOT_SAVED}") from error


@router.get("/{provider_id}")
async def one(request: Request, actor: Viewer, provider_id: UUID) -> Response:
    return await _page(request, visit_of(request, actor), provider_id)


@router.post("/{provider_id}")
async def change(request: Request, actor: Operator, provider_id: UUID, form: Typed) -> Response:
    visit, numbers = visit_of(request, actor), _Numbers(request, form)
    if numbers.errors:
        return await _page(request, visit, provider_id, 422, shown=form.shown(), errors=numbers.errors)
    try:
        done = await desk.change(visit, str(provider_id), _wanted(form, numbers), form.version)
    except NotFound:
        raise
    except PressroomError as error:
        errors = _wrong(request, error)
        return await _page(request, visit, provider_id, status_of(error), shown=form.shown(), errors=errors)
    words = language_of(request).gettext("The provider “%(name)s” is saved.") % {"name": done["name"]}
    return redirect(request, f"/providers/{provider_id}", words)


@router.post("/{provider_id}/test")
async def test(request: Request, actor: Operator, provider_id: UUID) -> Response:
    """Ask the model for one token. What waited for the provider goes on when that works."""
    visit = visit_of(request, actor)
    trial = await tried(request, desk.test(visit, str(provider_id)), _seconds(visit))
    woken = trial.works and (await desk.show(visit, str(provider_id)))["down_until"] is not None
    if woken:
        await desk.change(visit, str(provider_id), ProviderChange())
    if is_htmx(request):
        return fragment(request, FORM, "result", trial=trial, woken=woken)
    return await _page(request, visit, provider_id, trial=trial, woken=woken)


@router.post("/{provider_id}/remove")
async def remove(request: Request, actor: Operator, provider_id: UUID) -> Response:
    visit = visit_of(request, actor)
    try:
        done = await desk.remove(visit, str(provider_id))
    except Conflict as error:
        return await _page(request, visit, provider_id, status_of(error), errors=_wrong(request, error))
    words = language_of(request).gettext("The provider “%(name)s” is removed.") % {"name": done["removed"]}
    return redirect(request, "/providers", words)


def _seconds(visit: Visit) -> float:
    return visit.settings.llm_timeout + SECONDS_MORE


def _wrong(request: Request, error: PressroomError) -> dict[str, str]:
    """A call that failed says that nothing was saved, as a page says it."""
    said, not_saved, _ = str(error).partition(given.NOT_SAVED)
    if not not_saved:
        return errors_of(request, error)
    spoken = language_of(request)
    words = spoken.gettext("Nothing was saved, because the call of the model failed:")
    return {WHOLE_FORM: f"{words} {spoken.sentence(said)}"}


async def _page(
    request: Request,
    visit: Visit,
    provider_id: UUID,
    status_code: int = 200,
    *,
    shown: Record | None = None,
    **more: Any,
) -> Response:
    """`shown` takes the place of what is saved; the version stays the one that the person saw."""
    provider = await holdings.provider(visit, provider_id)
    return _form(request, provider, shown or _saved(provider), status_code, **more)


def _saved(provider: Record) -> Record:
    form = ProviderForm(
        preset=provider["preset"] or "",
        name=provider["name"],
        base_url=provider["base_url"],
        model=provider["model"],
        currency=provider["currency"],
        is_active=provider["is_active"],
        version=provider["version"],
        **{name: typed.plain(provider[name]) for name in (*WHOLE, *AMOUNTS)},
    )
    return form.shown()


def _form(request: Request, provider: Record | None, shown: Record, status_code: int = 200, **more: Any) -> Response:
    settings = console_of(request).settings
    chosen = presets.PRESETS.get(shown["preset"])
    context: dict[str, Any] = {
        "provider": provider,
        "typed": shown,
        "presets": tuple(presets.PRESETS.values()),
        "chosen": chosen,
        "needs_key": chosen is None or chosen.needs_key,
        "private_allowed": settings.allow_private_addresses,
        "default_max_tokens": settings.llm_max_tokens,
        "default_at_once": settings.generation_concurrency,
        "trial": None,
        "woken": False,
    }
    return render(request, FORM, status_code=status_code, **(context | more))
