"""The site's state: in memory for reading, in a journal for living on after a kill."""

import random
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from playground.accounts import TEACHER
from playground.config import Config
from playground.journal import Event, Journal
from playground.models import COMMENT_PUBLISHED, Article, ArticleText, Comment, Session
from playground.scenery import CLASSES, bulk_text, class_text

FIRST_ARTICLE_ID = 4601
FIRST_COMMENT_ID = 9001

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Articles, comments, classes and sessions; every change is an event, applied and then written down."""

    def __init__(self, config: Config, clock: Clock = utc_now) -> None:
        self.config = config
        self.clock = clock
        self.tabs: dict[int, str] = {}
        self.articles: dict[int, Article] = {}
        self.comments: dict[int, Comment] = {}
        self.comments_of: dict[int, list[Comment]] = {}
        self._sessions: dict[str, Session] = {}
        self._per_tab: dict[int, int] = {}
        self._journal = Journal(config.data_dir / "playground.jsonl") if config.data_dir else None
        for event in self._journal.replay() if self._journal else ():
            self._apply(event)
        if not self.articles:
            self._furnish()
        self._next_release = self._after_interval(clock())

    def close(self) -> None:
        if self._journal:
            self._journal.close()

    # Articles

    def visible_articles(self) -> Iterable[Article]:
        """All articles, the newest last; those due by now are published first."""
        self.release_due()
        return self.articles.values()

    def release_due(self) -> None:
        """Publish what is due. After a long idle time one article a class comes, not all that were missed."""
        now = self.clock()
        if not self.config.new_article_every or now < self._next_release:
            return
        missed = 1 + (now - self._next_release) // timedelta(seconds=self.config.new_article_every)
        for _ in range(min(missed, len(CLASSES))):
            tab = min(CLASSES, key=lambda candidate: self._per_tab.get(candidate, 0))
            self._add_article(tab, self._next_text(tab), now)
        self._next_release = self._after_interval(now)

    def add_bulk(self, tab: int, count: int) -> list[int]:
        """Short generated articles for load tests; the class is created if needed."""
        if tab not in self.tabs:
            self._do({"do": "tab", "id": tab, "name": f"Klasse {tab}"})
        start, now = self._per_tab.get(tab, 0), self.clock()
        return [self._add_article(tab, bulk_text(tab, start + n), now) for n in range(count)]

    # Comments

    def add_comment(self, article_id: int, author: str, text: str, status: int, hidden: bool, highlight: str) -> int:
        comment_id = FIRST_COMMENT_ID + len(self.comments)
        comment = Comment(comment_id, article_id, author, text, status, hidden, highlight, self.clock())
        self._do({"do": "comment", **asdict(comment), "created_at": comment.created_at.isoformat()})
        return comment_id

    def comments_for(self, article_id: int, username: str) -> list[Comment]:
        """The comments of an article that this user may see, the oldest first."""
        return [
            comment
            for comment in self.comments_of.get(article_id, ())
            if username in (comment.author, TEACHER.username)
            or (comment.status == COMMENT_PUBLISHED and not comment.hidden)
        ]

    # Sessions

    def log_in(self, username: str) -> Session:
        expires_at = self.clock() + timedelta(seconds=self.config.session_seconds)
        session = Session(secrets.token_hex(16), username, expires_at)
        self._do({"do": "log_in", "token": session.token, "username": username, "expires_at": expires_at.isoformat()})
        return session

    def username(self, token: str) -> str | None:
        """Who is logged in with this session, if it is still good."""
        session = self._sessions.get(token)
        return session.username if session and session.expires_at > self.clock() else None

    def log_out(self, token: str) -> None:
        self._do({"do": "log_out", "tokens": [token]})

    def expire_sessions(self, username: str) -> None:
        tokens = [token for token, session in self._sessions.items() if session.username == username]
        self._do({"do": "log_out", "tokens": tokens})

    # Events

    def _do(self, event: Event) -> None:
        self._apply(event)
        if self._journal:
            self._journal.append(event)

    def _apply(self, event: Event) -> None:
        match event["do"]:
            case "tab":
                self.tabs[event["id"]] = event["name"]
            case "article":
                updated_at = datetime.fromisoformat(event["updated_at"])
                self._keep_article(Article(event["id"], event["tab"], ArticleText(**event["text"]), updated_at))
            case "comment":
                fields = {key: value for key, value in event.items() if key != "do"}
                fields["created_at"] = datetime.fromisoformat(event["created_at"])
                self._keep_comment(Comment(**fields))
            case "log_in":
                expires_at = datetime.fromisoformat(event["expires_at"])
                self._sessions[event["token"]] = Session(event["token"], event["username"], expires_at)
            case "log_out":
                for token in event["tokens"]:
                    self._sessions.pop(token, None)

    def _keep_article(self, article: Article) -> None:
        self.articles[article.id] = article
        self._per_tab[article.tab] = self._per_tab.get(article.tab, 0) + 1

    def _keep_comment(self, comment: Comment) -> None:
        self.comments[comment.id] = comment
        self.comments_of.setdefault(comment.article_id, []).append(comment)

    # Scenery

    def _furnish(self) -> None:
        """The classes and their first articles, spread over the days before."""
        hours = random.Random(self.config.seed)
        for tab, school_class in CLASSES.items():
            self._do({"do": "tab", "id": tab, "name": school_class.name})
        for number in range(self.config.articles, 0, -1):
            for tab in CLASSES:
                age = timedelta(hours=7 * number + hours.randint(0, 5), minutes=hours.randint(0, 59))
                self._add_article(tab, self._next_text(tab), self.clock() - age)

    def _next_text(self, tab: int) -> ArticleText:
        return class_text(tab, self._per_tab.get(tab, 0), self.config.seed)

    def _add_article(self, tab: int, text: ArticleText, updated_at: datetime) -> int:
        article_id = FIRST_ARTICLE_ID + len(self.articles)
        fields = {"id": article_id, "tab": tab, "text": asdict(text), "updated_at": updated_at.isoformat()}
        self._do({"do": "article", **fields})
        return article_id

    def _after_interval(self, moment: datetime) -> datetime:
        return moment + timedelta(seconds=self.config.new_article_every)
