"""Which failures are the same."""

import json

import pytest

from lib.database import forbid_session
from lib.errors import Transient
from lib.taskwatch.fingerprint import LONGEST, fingerprint, normalised, place
from lib.taskwatch.recorder import described


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 503 after 1.5 s", "HTTP 502 after 12 s"),
        ("Article 4601 takes no comments", "Article 17 takes no comments"),
        ("Login “bot” waits", "Login “another bot” waits"),
        ("no such column 'a'", "no such column 'bc'"),
        ("GET https://a.example/x?y=1 failed", "GET http://127.0.0.1:80/ failed"),
        ("connect to 10.0.0.1:5432", "connect to 192.168.1.20:6000"),
        ("token 01a20550-7f82-73c5-8c22-f2f885fd705e is gone", "token 8c2201a2-7f82-73c5-8c22-f2f885fd7051 is gone"),
        ("at 2026-02-04T18:04:00Z it ended", "at 2025-12-31 23:59:59.123+01:00 it ended"),
        ("object at 0x7f00aa12", "object at 0x10bc"),
        ("commit dacf2cc9a1", "commit 79c934100b"),
        ("mail to ella@example.org bounced", "mail to finn.k@school.ch bounced"),
    ],
)
def test_what_varies_makes_no_difference(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert fingerprint("Transient", "lib/http.py:get", one) == fingerprint("Transient", "lib/http.py:get", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The site refused the password", "The site did not answer"),
        ("it's Ella's turn", "it's Finn's turn"),
        ("feedback decade", "facade decade"),
    ],
)
def test_words_do(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_type_and_place_make_a_difference() -> None:
    assert len({fingerprint(kind, where, "no") for kind in ("A", "B") for where in ("x.py:f", "y.py:f")}) == 4
    assert len(fingerprint("A", "", "")) == 16


def test_a_message_is_bounded_and_normalising_twice_changes_nothing() -> None:
    long = "word 12 " * 10_000
    assert len(normalised(long)) <= LONGEST
    assert normalised(normalised(long)) == normalised(long)
    assert fingerprint("A", "", normalised("x 1")) == fingerprint("A", "", "x 2")


def raised() -> BaseException:
    from lib import database

    token = database._held.set(1)
    try:
        forbid_session("a request")
    except RuntimeError as error:
        return error
    finally:
        database._held.reset(token)
    raise AssertionError


def test_the_place_is_the_innermost_frame_of_ours_without_its_line() -> None:
    assert place(raised().__traceback__) == "lib/database.py:forbid_session"
    assert place(None) == ""


def test_outside_our_packages_it_is_the_innermost_frame() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert place(caught.value.__traceback__) == "decoder.py:raw_decode"


def test_a_failure_is_described_without_the_values_of_variables() -> None:
    columns = described(raised(), "look")
    assert columns["error_type"] == "SessionHeldError"
    assert columns["place"] == "lib/database.py:forbid_session"
    assert columns["cause"] == normalised(str(columns["error_message"]))
    trace = str(columns["error_traceback"])
    assert "in forbid_session" in trace
    assert "what = " not in trace
    assert columns["fingerprint"] == fingerprint(
        "SessionHeldError", "lib/database.py:forbid_session", "a request " * 0 + str(columns["error_message"])
    )


def test_an_error_that_was_never_raised_is_placed_at_its_unit() -> None:
    columns = described(Transient("not yet"), "prepare_article")
    assert columns["place"] == "prepare_article"
    assert "Transient: not yet" in str(columns["error_traceback"])
