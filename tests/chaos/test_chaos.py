"""Kill workers twenty times: every comment is on the site exactly once, and the harness would notice if it were not."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos import worker
from tests.chaos.evidence import TWICE, Breach, Counted, Evidence, OnSite, Record, Wanted, breaches
from tests.chaos.ground import BOT, Watching
from tests.chaos.run import storm
from tests.chaos.storm import Plan

pytestmark = pytest.mark.chaos

KILLS = 20
# Processes share logins, with the same templates on the same class: what they discover are the same comments.
SMALL = (
    Watching("monday", "101", BOT[0:2]),
    Watching("tuesday", "101", BOT[1:3]),
    Watching("wednesday", "101", BOT[3:5]),
    Watching("thursday", "102", BOT[4:6], asks=True),
    Watching("friday", "102", BOT[6:8], hides=True),
)
ONE = (Watching("morning", "101", BOT[0:2], ("friendly",)),)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The site's server reports every client that is gone in the middle of a request."""
    log = logging.getLogger("uvicorn.error")
    before, log.level = log.level, logging.CRITICAL
    yield
    log.setLevel(before)


@pytest.mark.timeout(180)
async def test_nothing_is_posted_twice_or_lost_when_workers_and_the_database_are_killed() -> None:
    plan = Plan(kills=KILLS, restarts=("SIGKILL", "fast stop"), cuts=1, head_start=0.8, oldest=5, longest=75, outage=2)
    report = await storm(plan, SMALL, articles=2)
    said = "\n".join(report.lines())
    assert not report.breaches, said
    assert report.kills >= KILLS, said
    assert report.statuses["posted"] > 0, said
    assert report.takeovers, said
    assert report.decided["approved"] > 0, said
    assert report.hidden > 0, said
    assert report.kept.met_it > 0, said
    assert not report.kept.dropped, said


@pytest.mark.timeout(120)
async def test_posting_that_does_not_read_back_first_is_caught() -> None:
    plan = Plan(
        kills=2,
        workers=2,
        restarts=(),
        cuts=0,
        weather_every=0,
        fates={"comment": 1},
        moments=("after_accept",),
        head_start=0,
        backlog=0,
        longest=40,
        patience=30,
        outage=0,
    )
    report = await storm(plan, ONE, articles=3, broken=worker.BLIND)
    assert report.kinds()[TWICE] > 0, "\n".join(report.lines())


# The checker by itself, on a small world that is right and then wrong in one way at a time.

WANTED = Wanted("4601", "ki-bot", "friendly")
TEXT = "[Dieser Kommentar stammt von einem KI-ChatBot.] What a lovely text!"
RIGHT = Record(WANTED, "morning", "posted", TEXT, "9001")
THERE = OnSite("9001", "4601", "ki-bot", TEXT)
ALL = Evidence(frozenset({WANTED}), (RIGHT,), (THERE,), (Counted("morning", 1, 1, 1, 1, 0),))
FAILED = replace(RIGHT, status="failed", site_id=None, failed_from="generated", error="it did not arrive")


def kinds(found: list[Breach]) -> set[str]:
    return {breach.kind for breach in found}


def test_a_world_that_is_right_passes() -> None:
    assert breaches(ALL) == []
    assert ALL.settled


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (replace(ALL, on_site=(THERE, replace(THERE, id="9002"))), TWICE),
        (replace(ALL, on_site=(THERE, replace(THERE, id="9002", author="x"))), "on the site, not in the table"),
        (replace(ALL, on_site=()), "posted, but not on the site"),
        (replace(ALL, on_site=(replace(THERE, author="ki-bot-2"),)), "another comment than the record says"),
        (replace(ALL, on_site=(replace(THERE, hidden=True),)), "not as visible as it should be"),
        (replace(ALL, on_site=(replace(THERE, text="What a lovely text!"),)), "no disclosure"),
        (replace(ALL, records=()), "lost"),
        (replace(ALL, wanted=frozenset()), "never asked for"),
        (replace(ALL, records=(replace(RIGHT, status="generated", site_id=None),)), "unfinished"),
        (replace(ALL, records=(replace(RIGHT, status="generated"),)), "an id, but not posted"),
        (replace(ALL, records=(FAILED,)), "failed, but on the site"),
        (replace(ALL, records=(RIGHT, replace(RIGHT, wanted=WANTED))), "two records of one comment"),
        (replace(ALL, records=(replace(RIGHT, held=True),)), "still held"),
        (replace(ALL, held=("posting with ki-bot",)), "still held"),
        (replace(ALL, counted=(Counted("morning", 1, 1, 1, 2, 0),)), "miscounted"),
        (replace(ALL, hiding=frozenset({"morning"})), "not as visible as it should be"),
        (replace(ALL, asking=frozenset({"morning"})), "posted without approval"),
        (replace(ALL, records=(replace(RIGHT, approval="rejected"),)), "posted without approval"),
        (replace(ALL, records=(replace(RIGHT, id="c1"),), decided={"c1": "approved"}), "a decision is lost"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_each_wrong_is_named(wrong: Evidence, kind: str) -> None:
    assert kind in kinds(breaches(wrong))


def test_what_a_person_rejected_is_over() -> None:
    rejected = replace(RIGHT, status="generated", site_id=None, approval="rejected", id="c1")
    world = replace(ALL, records=(rejected,), on_site=(), counted=(), decided={"c1": "rejected"})
    assert breaches(world) == []
    assert world.settled
    assert kinds(breaches(replace(world, on_site=(THERE,)))) == {"on the site, not in the table"}


def test_a_failure_that_says_nobody_knows_may_be_on_the_site() -> None:
    unknown = replace(FAILED, error="Outcome unknown: the worker died over this again and again")
    assert "failed, but on the site" not in kinds(breaches(replace(ALL, records=(unknown,))))
