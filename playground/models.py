"""What the site stores, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ArticleStatus = Literal["entwurf", "lehrpersonenkontrolle", "publiziert"]

CATEGORIES = {
    4: "Anleiten",
    14: "Berichten",
    5: "Erklären",
    6: "Fragen",
    7: "Informieren",
    8: "Überzeugen",
    9: "Unterhalten",
}
TASKS = {
    4: "Tiere und Pflanzen",
    10: "Mein Erlebnis",
    12: "So geht das",
    13: "Fantasie",
}
STATUS_TITLES: dict[ArticleStatus, str] = {
    "entwurf": "Entwurf",
    "lehrpersonenkontrolle": "Lehrpersonenkontrolle",
    "publiziert": "Publiziert",
}
COMMENT_STATUSES = {10: "Entwurf", 11: "Lehrpersonenkontrolle", 20: "Publiziert", 30: "Archiviert"}
COMMENT_PUBLISHED = 20


@dataclass(frozen=True)
class ArticleText:
    """A text as a pupil wrote it, before the site gave it an id."""

    title: str
    author: str
    category: int
    task: int
    status: ArticleStatus
    body: str
    layout: Literal["paragraphs", "textarea"] = "paragraphs"
    """Some pages show their text in `textarea#text-to-speech` alone."""


@dataclass(frozen=True)
class Article:
    id: int
    tab: int
    text: ArticleText
    updated_at: datetime


@dataclass(frozen=True)
class Comment:
    id: int
    article_id: int
    author: str
    text: str
    status: int
    hidden: bool
    highlight: str
    created_at: datetime


@dataclass(frozen=True)
class Session:
    token: str
    username: str
    expires_at: datetime
