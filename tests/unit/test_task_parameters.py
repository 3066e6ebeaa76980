"""What a record shows of arguments and of errors' words."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lib.taskwatch import parameters
from lib.taskwatch.parameters import HIDDEN, both_ends, message, shown, storable, without_secrets


def as_json(values: dict[str, Any]) -> Any:
    return json.loads(orjson.dumps(shown(values)))


@pytest.mark.parametrize(
    "name",
    [
        *("password", "user_password", "token", "csrf_token", "api_key", "apikey", "key", "encryption_keys", "secret"),
        *("Authorization", "cookies", "session", "PASSPHRASE", "password_encrypted", "credentials"),
    ],
)
def test_what_sounds_like_a_secret_is_a_sign(name: str) -> None:
    assert as_json({name: "hunter2", "inner": {name: "hunter2"}, "deep": [{name: 12345}]}) == {
        name: HIDDEN,
        "inner": {name: HIDDEN},
        "deep": [{name: HIDDEN}],
    }


def test_what_only_sounds_like_one_is_shown() -> None:
    harmless = {
        "input_tokens": 12,
        "keywords": "panda",
        "monkey": "yes",
        "session_hours": 24.0,
        "tokens_estimated": True,
    }
    assert as_json(harmless) == harmless


def test_a_secret_string_is_a_sign_whatever_its_name() -> None:
    assert as_json({"what": SecretStr("hunter2"), "all": [SecretStr("hunter2")]}) == {"what": HIDDEN, "all": [HIDDEN]}


def test_long_texts_are_cut_and_tell_their_length() -> None:
    made = as_json({"note": "x" * 201, "content": "y" * 5_000, "short": "z" * 200})
    assert made["note"] == "x" * 200 + "… (201 characters)"
    assert made["content"] == "y" * 80 + "… (5,000 characters)"
    assert made["short"] == "z" * 200


@dataclass(frozen=True)
class Claim:
    id: UUID
    token: UUID


@dataclass(frozen=True)
class Item:
    claim: Claim
    title: str
    at: datetime
    cost: Decimal
    kept: str = field(default="hidden", repr=False)


def test_snapshots_become_objects() -> None:
    claim = Claim(uuid4(), uuid4())
    at = datetime(2026, 2, 4, 18, 4, tzinfo=UTC)
    assert as_json({"item": Item(claim, "Red Pandas", at, Decimal("0.05"))}) == {
        "item": {
            "claim": {"id": str(claim.id), "token": HIDDEN},
            "title": "Red Pandas",
            "at": "2026-02-04 18:04:00+00:00",
            "cost": "0.05",
        }
    }


def test_other_things_are_named_only() -> None:
    class Site:
        def __repr__(self) -> str:
            return "password=hunter2"

    assert as_json({"site": Site(), "raw": b"12345"}) == {"site": "Site", "raw": "5 bytes"}


def test_depth_number_and_size_are_bounded() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert HIDDEN in json.dumps(as_json(endless), ensure_ascii=False)
    many = as_json({"list": list(range(1_000)), "dict": {str(n): n for n in range(1_000)}})
    assert len(many["list"]) == parameters.MOST_ITEMS + 1
    assert many["list"][-1] == "… 980 more"
    assert len(many["dict"]) == parameters.MOST_ITEMS + 1
    big = {f"name {n}": [{"text": "x" * 200} for _ in range(20)] for n in range(20)}
    assert len(orjson.dumps(shown(big))) < 6_000


def test_what_a_database_cannot_hold_is_replaced() -> None:
    made = as_json({"a\x00b": "x\x00y\ud800z", "inf": float("inf"), "nan": float("nan"), "big": 10**30})
    assert made == {"a\ufffdb": "x\ufffdy\ufffdz", "inf": "inf", "nan": "nan", "big": "1e+30"}


class Grumpy:
    @property
    def model_fields(self) -> Any:
        raise RuntimeError("not today")

    def __str__(self) -> str:
        raise RuntimeError("nor ever")


def test_what_cannot_be_shown_does_not_raise() -> None:
    as_json({"grumpy": Grumpy()})
    assert HIDDEN in shown({Grumpy(): 1})  # type: ignore[dict-item]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.text()) | st.tuples(inner, inner),
    max_leaves=60,
)


@given(st.dictionaries(st.text(), anything))
def test_anything_is_storable_and_small(values: dict[str, Any]) -> None:
    written = orjson.dumps(shown(values))
    assert len(written) < 12_000  # a character takes up to three bytes
    assert b"\\u0000" not in written


@pytest.mark.parametrize(
    ("said", "shown_as"),
    [
        ("password=hunter2 is wrong", "password=… is wrong"),
        ("{'api_key': 'sk-1234567', 'n': 1}", "{'api_key': '…', 'n': 1}"),
        ("Authorization: Bearer abcdefghijkl failed", "Authorization: Bearer … failed"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:…@host/db"),
        ("csrfmiddlewaretoken=abc&text=hello", "csrfmiddlewaretoken=…&text=hello"),
        ("used 12 tokens; the session has ended", "used 12 tokens; the session has ended"),
    ],
)
def test_sentences_lose_their_secrets(said: str, shown_as: str) -> None:
    assert without_secrets(said) == shown_as


def test_an_errors_sentence_is_cut_cleaned_and_never_fails() -> None:
    assert message(ValueError("a\x00b password=hunter2")) == "a\ufffdb password=…"
    assert len(message(ValueError("x" * 10_000))) < parameters.LONGEST_MESSAGE + 50

    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    assert message(Mute()) == "(its words cannot be had: RuntimeError)"


def test_of_a_long_traceback_both_ends_stay() -> None:
    text = "begin" + "x" * 100_000 + "end"
    cut = both_ends(text)
    assert len(cut) < parameters.LONGEST_TRACEBACK + 10
    assert cut.startswith("begin")
    assert cut.endswith("end")


def test_storable_leaves_what_is_storable() -> None:
    assert storable("Grüezi 👋") == "Grüezi 👋"
