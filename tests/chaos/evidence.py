"""What must hold when the storm is over, checked on the table and the site side by side."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lib.monitoring.guard import PREFIX
from lib.monitoring.mymoment import comparable

UNKNOWN = "Outcome unknown"
TWICE = "posted twice"


@dataclass(frozen=True)
class Wanted:
    """A comment that there must be: one for each article, login and template."""

    article: str
    login: str
    template: str


@dataclass(frozen=True)
class Record:
    """A row of the table. `login` is the account's name on the site; `held`: somebody's token is still on it."""

    wanted: Wanted
    process: str
    status: str
    text: str | None
    site_id: str | None
    error: str | None = None
    failed_from: str | None = None
    held: bool = False
    approval: str | None = None
    id: str = ""

    @property
    def over(self) -> bool:
        """Nobody will do anything about it any more."""
        return self.status in ("posted", "failed") or (self.status == "generated" and self.approval == "rejected")


@dataclass(frozen=True)
class OnSite:
    """A comment as the site has it."""

    id: str
    article: str
    author: str
    text: str
    published: bool = True
    hidden: bool = False
    created_at: str = ""


@dataclass(frozen=True)
class Counted:
    """A process's counters."""

    process: str
    discovered: int
    prepared: int
    generated: int
    posted: int
    failures: int


@dataclass(frozen=True)
class Evidence:
    """The table and the site at one moment. `held`: what else is held by a lease that has not expired.

    `hiding` and `asking` are the processes that hide their comments, and that post only what a person approved;
    `decided` is what the person was told to be done, by the comment's id.
    """

    wanted: frozenset[Wanted]
    records: tuple[Record, ...]
    on_site: tuple[OnSite, ...]
    counted: tuple[Counted, ...] = ()
    held: tuple[str, ...] = ()
    hiding: frozenset[str] = frozenset()
    asking: frozenset[str] = frozenset()
    decided: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Nothing is left to do."""
        done = {record.wanted for record in self.records if record.over}
        return self.wanted <= done and not any(record.held for record in self.records)


@dataclass(frozen=True)
class Breach:
    """An invariant that does not hold. `kind` is the same for all of its sort."""

    kind: str
    detail: str
    article: str = ""
    login: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def breaches(evidence: Evidence) -> list[Breach]:
    """Everything that is wrong; empty when every comment was posted exactly once and the table says so."""
    return [
        *_unclaimed_on_site(evidence),
        *_shared(evidence),
        *_unproven(evidence),
        *_lost(evidence),
        *_unfinished(evidence),
        *_failed_though_there(evidence),
        *_undisclosed(evidence),
        *_unapproved(evidence),
        *_forgotten(evidence),
        *_held(evidence),
        *_miscounted(evidence),
    ]


def _looks(article: str, author: str, text: str | None) -> tuple[str, str, str]:
    return article, author, comparable(text or "")


def _look_of(record: Record) -> tuple[str, str, str]:
    return _looks(record.wanted.article, record.wanted.login, record.text)


def _unclaimed_on_site(evidence: Evidence) -> Iterator[Breach]:
    """Every comment on the site is some record's: one more with the same words was posted twice."""
    recorded = {record.site_id for record in evidence.records if record.status == "posted"}
    claimed = {_looks(c.article, c.author, c.text) for c in evidence.on_site if c.id in recorded}
    for comment in evidence.on_site:
        if comment.id not in recorded:
            twice = _looks(comment.article, comment.author, comment.text) in claimed
            kind = TWICE if twice else "on the site, not in the table"
            yield Breach(kind, repr(comment), comment.article, comment.author)


def _shared(evidence: Evidence) -> Iterator[Breach]:
    ids = Counter(record.site_id for record in evidence.records if record.site_id)
    yield from (Breach("two records of one comment", str(id_)) for id_, number in ids.items() if number > 1)


def _unproven(evidence: Evidence) -> Iterator[Breach]:
    """What the table calls posted is on the site, under that id, by that login, with that text; the rest has no id."""
    there = {comment.id: comment for comment in evidence.on_site}
    for record in evidence.records:
        found = there.get(record.site_id or "")
        if record.status != "posted":
            if record.site_id:
                yield Breach("an id, but not posted", repr(record))
        elif found is None:
            yield Breach("posted, but not on the site", repr(record))
        elif _looks(found.article, found.author, found.text) != _look_of(record):
            yield Breach("another comment than the record says", f"{record!r} {found!r}")
        elif not found.published or found.hidden != (record.process in evidence.hiding):
            yield Breach("not as visible as it should be", repr(found))


def _lost(evidence: Evidence) -> Iterator[Breach]:
    have = Counter(record.wanted for record in evidence.records)
    for wanted in evidence.wanted - have.keys():
        yield Breach("lost", repr(wanted))
    for wanted in have.keys() - evidence.wanted:
        yield Breach("never asked for", repr(wanted))


def _unfinished(evidence: Evidence) -> Iterator[Breach]:
    for record in evidence.records:
        if not record.over:
            yield Breach("unfinished", repr(record))


def _failed_though_there(evidence: Evidence) -> Iterator[Breach]:
    """A failure is true when nothing of it is on the site, or when it says that nobody knows."""
    spare = defaultdict(int, Counter(_looks(c.article, c.author, c.text) for c in evidence.on_site))
    for record in evidence.records:
        if record.status == "posted":
            spare[_look_of(record)] -= 1
    for record in evidence.records:
        if record.status == "failed" and not (record.error or "").startswith(UNKNOWN) and spare[_look_of(record)] > 0:
            yield Breach("failed, but on the site", repr(record))


def _undisclosed(evidence: Evidence) -> Iterator[Breach]:
    for comment in evidence.on_site:
        if not comparable(comment.text).startswith(comparable(PREFIX)):
            yield Breach("no disclosure", repr(comment))


def _unapproved(evidence: Evidence) -> Iterator[Breach]:
    """What nobody approved is neither posted nor on the site."""
    for record in evidence.records:
        rejected = record.approval == "rejected"
        if record.status == "posted" and (
            rejected or (record.process in evidence.asking and record.approval != "approved")
        ):
            yield Breach("posted without approval", repr(record))


def _forgotten(evidence: Evidence) -> Iterator[Breach]:
    """Whoever was told that a decision is made finds it in the table."""
    have = {record.id: record.approval for record in evidence.records}
    for id_, decision in evidence.decided.items():
        if have.get(id_) != decision:
            yield Breach("a decision is lost", f"{id_} is {have.get(id_)}, not {decision}")


def _held(evidence: Evidence) -> Iterator[Breach]:
    yield from (Breach("still held", repr(record)) for record in evidence.records if record.held)
    yield from (Breach("still held", what) for what in evidence.held)


def _miscounted(evidence: Evidence) -> Iterator[Breach]:
    """Every step of every record was counted once, in its process."""
    for have in evidence.counted:
        mine = [record for record in evidence.records if record.process == have.process]
        reached = Counter(_step(record) for record in mine)
        failures = sum(record.status == "failed" for record in mine)
        steps = [sum(number for step, number in reached.items() if step >= least) for least in range(4)]
        if steps != [have.discovered, have.prepared, have.generated, have.posted] or failures > have.failures:
            yield Breach("miscounted", f"{have!r}; the records say {steps} and {failures} failures")


STEPS = ("discovered", "prepared", "generated", "posted")


def _step(record: Record) -> int:
    """How many stages after discovery a record has passed."""
    status = record.failed_from if record.status == "failed" else record.status
    return STEPS.index(status or "discovered")
