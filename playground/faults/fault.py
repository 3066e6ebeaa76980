"""What a fault is, and how it is asked for."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Route = Literal["article", "index", "login", "comment", "llm", "any"]
When = Literal["before_accept", "after_accept", "after_answer"]
Kind = Literal[
    "latency",
    "status",
    "rate_limit",
    "drop_before",
    "drop_after",
    "drip",
    "truncate",
    "oversize",
    "malformed",
    "expire_session",
    "kill_client",
    "cut",
    "obey_injection",
    "echo_prompt",
    "too_short",
    "too_long",
    "wrong_key",
]

LLM_KINDS = ("cut", "obey_injection", "echo_prompt", "too_short", "too_long", "wrong_key")
# Before the request is accepted nothing has happened yet; after it, the effect stands whatever the client hears.
_BEFORE = ("latency", "status", "rate_limit", "wrong_key", "drop_before", "expire_session")
_WHEN_IS_FREE = ("latency", "status", "rate_limit", "kill_client")


@dataclass(frozen=True)
class Fault:
    """A fault as asked for. Fields that its kind does not use are ignored."""

    kind: Kind
    route: Route = "any"
    when: When = "after_accept"
    times: int | None = 1
    """None: for ever."""
    article_id: int | None = None
    user: str | None = None
    method: str | None = None
    after_s: float = 0.0
    """It begins to apply that long after it was asked for."""
    seconds: float = 1.0
    status: int = 500
    retry_after: float | None = None
    bytes_per_s: float = 1000.0
    mb: float = 8.0
    pid: int | None = None
    own_requests: bool = False
    """Kill the client only at a request that it makes itself, told by its socket."""
    reset: bool = False
    """Drop with a TCP reset instead of an orderly end."""


class NotAFaultError(ValueError):
    """What was asked for is not a fault that the playground knows."""


def parse(asked: dict[str, Any]) -> Fault:
    """The fault that a JSON object asks for."""
    known = {field.name: field.type for field in fields(Fault)}
    if unknown := sorted(set(asked) - set(known)):
        raise NotAFaultError(f"unknown field: {', '.join(unknown)}")
    kind, route = asked.get("kind", ""), asked.get("route")
    if kind not in get_args(Kind):
        raise NotAFaultError(f"kind must be one of {', '.join(get_args(Kind))}")
    if kind in LLM_KINDS and route not in (None, "llm"):
        raise NotAFaultError(f"{kind} applies to the route llm alone")
    if (route or "any") not in get_args(Route):
        raise NotAFaultError(f"route must be one of {', '.join(get_args(Route))}")
    _check_fields(asked)
    chosen = {key: value for key, value in asked.items() if key not in ("when", "route")}
    return Fault(route="llm" if kind in LLM_KINDS else route or "any", when=_when(kind, asked.get("when")), **chosen)


def _when(kind: str, asked: Any) -> When:
    usual: When = "before_accept" if kind in _BEFORE else "after_accept"
    if asked is None and kind == "kill_client":
        raise NotAFaultError(f"kill_client needs when: {', '.join(get_args(When))}")
    if asked in (None, usual):
        return usual
    if kind in _WHEN_IS_FREE and asked in ("before_accept", "after_accept"):
        return "before_accept" if asked == "before_accept" else "after_accept"
    if kind == "kill_client" and asked == "after_answer":
        return "after_answer"
    raise NotAFaultError(f"{kind} cannot happen at {asked!r}")


def _check_fields(asked: dict[str, Any]) -> None:
    for name in ("times", "article_id", "pid"):
        if asked.get(name) is not None and type(asked[name]) is not int:
            raise NotAFaultError(f"{name} must be a whole number or null")
    for name in ("user", "method"):
        if asked.get(name) is not None and not isinstance(asked[name], str):
            raise NotAFaultError(f"{name} must be a text or null")
    for name in ("after_s", "seconds", "retry_after", "bytes_per_s", "mb"):
        if asked.get(name) is not None and (type(asked[name]) not in (int, float) or asked[name] < 0):
            raise NotAFaultError(f"{name} must be a number of at least 0")
    if asked.get("bytes_per_s") == 0:
        raise NotAFaultError("bytes_per_s must be more than 0")
    status = asked.get("status", 500)
    if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004 (the range of HTTP's errors)
        raise NotAFaultError("status must be from 400 to 599")
