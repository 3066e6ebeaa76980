"""Services by name, and a model's endpoint that wants to be asked in its own way, on a real wire."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lib.errors import Invalid, Permanent, Refused
from lib.http import Limits
from lib.llm import LLM, Dialect, NoText, Unreachable
from lib.monitoring import fields, presets
from lib.monitoring.decline import HOPELESS_AFTER, Means, Part, decline
from lib.monitoring.models import LLMProviderConfiguration
from lib.monitoring.presets import Terms
from lib.monitoring.providers import Availability, Prices

Answer = tuple[int, dict[str, Any]]
LOCAL = Limits(seconds=5, total_seconds=5, allow_private=True)


def completion(text: str | None = "Hello there.", **more: Any) -> Answer:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return 200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def refusing(name: str) -> Answer:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return 400, {"error": {"message": message, "param": name, "code": "unsupported_parameter"}}


@contextmanager
def endpoint(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A model's address, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append(body)
            status, found = answer(body)
            said = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def ask(url: str, dialect: Dialect | None = None, times: int = 1, limits: Limits = LOCAL) -> Any:
    llm = LLM("model", url, "m", "key", limits, dialect)
    try:
        for _ in range(times):
            answer = await llm.complete("Be kind.", "Hello?", max_tokens=50, temperature=0.5)
        return answer
    finally:
        await llm.aclose()


def test_every_preset_has_a_usable_address_and_model() -> None:
    assert set(presets.PRESETS) == {"openai", "anthropic", "mistral", "google", "ollama"}
    for preset in presets.PRESETS.values():
        assert fields.endpoint(preset.base_url) == preset.base_url
        assert preset.model
    assert presets.dialect_of("openai").tokens == "max_completion_tokens"
    assert presets.dialect_of("mistral").tokens == presets.dialect_of(None).tokens == "max_tokens"
    assert [name for name, preset in presets.PRESETS.items() if not preset.needs_key] == ["ollama"]


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(Invalid, match=r"“acme”.*openai, anthropic, mistral, google, ollama"):
        presets.named("acme")


def test_a_preset_fills_in_only_what_was_not_given() -> None:
    row = LLMProviderConfiguration(name="x", model_name="gpt-5.4")
    presets.apply_preset(row, presets.named("OpenAI "))
    assert (row.preset, row.base_url, row.model_name) == ("openai", "https://api.openai.com/v1", "gpt-5.4")


def test_terms_are_checked_and_a_budget_below_zero_takes_it_away() -> None:
    row = LLMProviderConfiguration(name="x")
    with pytest.raises(Invalid, match="no prices"):
        presets.apply_terms(row, Terms(budget_money=Decimal(1)))
    presets.apply_terms(row, Terms(Decimal("0.25"), Decimal(2), "chf", 1000, Decimal("1.5")))
    assert (row.currency, row.budget_tokens, row.budget_money) == ("CHF", 1000, Decimal("1.5"))
    presets.apply_terms(row, Terms(budget_tokens=-1, budget_money=Decimal(-1)))
    assert (row.budget_tokens, row.budget_money) == (None, None)
    wrong = [Terms(currency="Franken"), Terms(Decimal("NaN")), Terms(Decimal(-1)), Terms(budget_tokens=10**30)]
    for terms in wrong:
        with pytest.raises(Invalid):
            presets.apply_terms(row, terms)
    with pytest.raises(Invalid, match="--input-price"):
        presets.money("much", "--input-price")


def test_prices_are_for_a_million_tokens_and_unknown_without_any() -> None:
    assert Prices(Decimal(2), Decimal(8), "USD").of(500_000, 250_000) == Decimal(3)
    assert Prices(None, None, "USD").of(1, 1) is None


@pytest.mark.parametrize(
    ("first", "sent"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
async def test_a_parameter_that_the_server_refuses_is_replaced_once_and_remembered(first: Any, sent: str) -> None:
    with endpoint(lambda body: refusing(first) if first in body else completion()) as (url, asked):
        await ask(url, Dialect(first), times=2)
    assert [sent in body for body in asked] == [False, True, True]


async def test_a_server_that_takes_neither_temperature_nor_max_tokens_is_asked_without_them() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        wrong = next((name for name in ("max_tokens", "temperature") if name in body), None)
        return refusing(wrong) if wrong else completion()

    with endpoint(answer) as (url, asked):
        assert (await ask(url)).text == "Hello there."
    assert len(asked) == 3


async def test_mistrals_way_to_refuse_a_parameter_is_understood() -> None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]
    refusal = 422, {"object": "error", "message": {"detail": detail}}
    with endpoint(lambda body: refusal if "max_completion_tokens" in body else completion()) as (url, asked):
        await ask(url, Dialect("max_completion_tokens"))
    assert "max_tokens" in asked[1]


async def test_any_other_refusal_of_a_request_is_not_repeated() -> None:
    too_long = 400, {"error": {"message": "max_tokens is too large: 50", "param": "max_tokens", "code": "too_large"}}
    with endpoint(lambda _: too_long) as (url, asked), pytest.raises(Permanent, match="too large"):
        await ask(url)
    assert len(asked) == 1
    with endpoint(lambda _: refusing("max_tokens")) as (url, asked), pytest.raises(Permanent):
        await ask(url)
    assert len(asked) == 2


async def test_tokens_are_told_apart_or_estimated_and_said_to_be() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    with endpoint(lambda _: completion(usage=usage)) as (url, _):
        told = await ask(url)
    with endpoint(lambda _: completion()) as (url, _):
        guessed = await ask(url)
    assert (told.input_tokens, told.output_tokens, told.tokens, told.estimated) == (7, 3, 10, False)
    assert guessed.estimated
    assert guessed.input_tokens == 5
    assert guessed.output_tokens == 4


async def test_an_empty_answer_costs_its_tokens_all_the_same() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 50, "total_tokens": 57}
    with endpoint(lambda _: completion(None, usage=usage)) as (url, _), pytest.raises(NoText) as empty:
        await ask(url)
    assert empty.value.completion.tokens == 57


async def test_what_a_server_calls_itself_is_made_storable() -> None:
    odd = 200, completion()[1] | {"model": "m\x00\ud800" + "x" * 999}
    with endpoint(lambda _: odd) as (url, _):
        answer = await ask(url)
    assert answer.model == "m" + "x" * 199


async def test_a_private_address_names_the_setting_that_allows_it() -> None:
    ollama = presets.named("ollama").base_url
    with pytest.raises(Refused, match="PRESSROOM_ALLOW_PRIVATE_ADDRESSES=true"):
        await ask(ollama, limits=Limits(seconds=1, total_seconds=1))


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await ask("http://127.0.0.1:9/v1")


def test_a_provider_is_down_at_once_or_after_a_row_of_failures_and_doubted_after_its_rest() -> None:
    trouble = NoText("empty", None)  # type: ignore[arg-type]
    state = Availability()
    assert not state.failed(trouble)
    assert not state.worked()
    assert [state.failed(trouble) for _ in range(3)] == [False, False, True]
    assert Availability().failed(Refused("no"))
    assert Availability().failed(Unreachable("no"))
    state.rest(60, "why")
    assert state.is_down
    tried_again = Availability(down=0)
    assert not tried_again.is_down
    assert tried_again.failed(trouble)
    recovered = Availability(down=0)
    assert recovered.worked()
    assert not recovered.worked()


GOOD, GONE, NEW = Part("good"), Part("gone", HOPELESS_AFTER + 1), Part("new", HOPELESS_AFTER - 1)


@pytest.mark.parametrize(
    ("logins", "templates", "providers", "reason"),
    [
        ([GOOD], [GOOD], [GOOD], None),
        ([GONE, NEW], [GONE, GOOD], [GONE, GOOD], None),
        ([GONE, GONE], [GOOD], [GOOD], "logins_refused"),
        ([], [GOOD], [GOOD], "logins_refused"),
        ([GOOD], [GONE], [GOOD], "no_template"),
        ([GOOD], [GOOD], [GONE], "no_provider"),
        ([GOOD], [GOOD], [], "no_provider"),
    ],
)
def test_a_process_has_declined_when_nothing_of_a_kind_can_work(
    logins: list[Part], templates: list[Part], providers: list[Part], reason: str | None
) -> None:
    found = decline(Means(logins, templates, providers))
    assert (found.reason if found else None) == reason
    assert found is None or len(found.reason) <= 40
