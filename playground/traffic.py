"""What was asked and what took effect, for those who check."""

from collections import Counter
from typing import Any


class Traffic:
    """Counts since the start or the last `reset`."""

    def __init__(self) -> None:
        self.llm_now = 0
        self.reset()

    def reset(self) -> None:
        self.by_route: Counter[str] = Counter()
        self.by_user: dict[str, Counter[str]] = {}
        self.by_status: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.effects_by_user: dict[str, Counter[str]] = {}
        self.llm_most = self.llm_now

    def arrived(self, route: str, user: str | None) -> None:
        self.by_route[route] += 1
        if user:
            self.by_user.setdefault(user, Counter())[route] += 1

    def answered(self, route: str, status: int) -> None:
        self.by_status[f"{route} {status}"] += 1

    def happened(self, effect: str, user: str) -> None:
        self.effects[effect] += 1
        self.effects_by_user.setdefault(user, Counter())[effect] += 1

    def llm_started(self) -> None:
        self.llm_now += 1
        self.llm_most = max(self.llm_most, self.llm_now)

    def llm_ended(self) -> None:
        self.llm_now -= 1

    def summary(self) -> dict[str, Any]:
        return {
            "log_ins": self.effects["log_in"],
            "failed_log_ins": self.effects["failed_log_in"],
            "index_fetches": self.by_route["index"],
            "article_fetches": self.by_route["article"],
            "comment_posts": self.by_route["comment"],
            "comments_accepted": self.effects["comment"],
            "llm_calls": self.by_route["llm"],
            "llm_calls_at_once": self.llm_now,
            "max_llm_calls_at_once": self.llm_most,
            "by_route": dict(self.by_route),
            "by_status": dict(self.by_status),
            "by_user": {user: dict(counts) for user, counts in self.by_user.items()},
            "effects_by_user": {user: dict(counts) for user, counts in self.effects_by_user.items()},
        }
