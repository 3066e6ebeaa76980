"""How the pages of the tasks say durations, shares and names, and draw what succeeded and failed."""

import pytest

from console.pages import task_words as say
from console.pages.charts import stacked
from console.pages.language import language

ENGLISH, GERMAN = language("en"), language("de")


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (None, ""),
        (0.2, "< 1 ms"),
        (12.4, "12 ms"),
        (1234.5, "1.2 s"),
        (59_999.0, "60 s"),
        (60_000.0, "1 min 0 s"),
        (3_599_000.0, "59 min 59 s"),
        (7_500_000.0, "2 h 5 min"),
        (180_000_000.0, "2 d 2 h"),
    ],
)
def test_a_duration_is_said_in_its_largest_units(milliseconds: float | None, said: str) -> None:
    assert say.duration(ENGLISH, milliseconds) == said


def test_numbers_are_written_as_the_language_has_them() -> None:
    assert say.duration(GERMAN, 1234.5) == "1,2 s"
    assert say.duration(GERMAN, 180_000_000.0) == "2 T 2 h"


def test_a_failure_among_many_is_not_rounded_away() -> None:
    assert say.percent(ENGLISH, 99.999) == "99.9 %"
    assert say.percent(ENGLISH, 100.0) == "100 %"
    assert say.percent(ENGLISH, 0.0) == "0 %"


@pytest.mark.parametrize(
    ("rate", "active", "health"),
    [
        (100.0, 0, "well"),
        (95.0, 3, "well"),
        (94.9, 0, "look out"),
        (49.9, 0, "failing"),
        (None, 2, "busy"),
        (None, 0, "idle"),
    ],
)
def test_how_a_task_does_is_told_by_what_ended(rate: float | None, active: int, health: str) -> None:
    assert say.health(rate, active) == health


def test_an_age_is_rough() -> None:
    assert say.age(ENGLISH, 59) == "less than a minute"
    assert say.age(ENGLISH, 61) == say.age(ENGLISH, 119) == "1 min"
    assert say.age(ENGLISH, 7_260) == "2 h 1 min"


def test_a_new_task_needs_no_words_and_a_known_one_has_german_ones() -> None:
    assert say.task_name(GERMAN, "water_the_plants") == "water the plants"
    assert say.task_name(GERMAN, "prepare_article") == "Text eines Artikels holen"
    assert say.task_name(GERMAN, "") == ""


def test_bars_stand_on_the_line_with_failures_on_top() -> None:
    bars = stacked([(0, 0), (10, 0), (5, 5), (1000, 1)], width=40, height=30, gap=2)
    assert [bar.x for bar in bars] == [11, 21, 31]
    for bar in bars:
        assert bar.good_y + bar.good == 30
        assert bar.bad_y + bar.bad == pytest.approx(bar.good_y)
        assert bar.bad_y >= 0
    assert [bar.bad > 0 for bar in bars] == [False, True, True]
    assert stacked([]) == stacked([(0, 0)]) == ()
