"""The pages as HTML, without a word about where their content comes from."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from playground import german
from playground.accounts import Account
from playground.models import CATEGORIES, COMMENT_STATUSES, STATUS_TITLES, TASKS, Article, Comment
from playground.site.richtext import shown

_templates = Environment(loader=PackageLoader("playground", "templates"), autoescape=True, auto_reload=False)
_templates.filters.update(day_and_time=german.day_and_time, shown=shown)


@dataclass(frozen=True)
class Pane:
    """A tab of the index, with its articles as HTML."""

    id: str
    name: str
    content: Markup


def render(template: str, **values: object) -> str:
    return _templates.get_template(template).render(**values)


class Cards:
    """The articles of the index as HTML, each rendered once for each view: articles do not change."""

    def __init__(self, tabs: Mapping[int, str]) -> None:
        self._tabs = tabs
        self._views: dict[str, Callable[[Article], str]] = {"pupil": self._card, "teacher": self._row}
        self._done: dict[tuple[str, int], str] = {}

    def pane(self, role: str, articles: Iterable[Article]) -> Markup:
        inner = "".join(self._rendered(role, article) for article in articles)
        return Markup(_TABLE if role == "teacher" else _LIST).format(Markup(inner))  # noqa: S704 (our own HTML)

    def _rendered(self, role: str, article: Article) -> str:
        key = (role, article.id)
        if key not in self._done:
            self._done[key] = self._views[role](article)
        return self._done[key]

    def _card(self, article: Article) -> str:
        text = article.text
        return (
            f'<div class="card"><a href="/article/{article.id}/">'
            f'<div class="card-header {text.status}">{STATUS_TITLES[text.status]}</div>'
            f'<div class="card-body"><div class="article-classroom">{escape(self._tabs[article.tab])}</div>'
            f'<div class="article-title">{escape(text.title)}</div>'
            f'<div class="article-author">{escape(text.author)}</div>'
            f'<div class="article-date">{german.day(article.updated_at)}</div></div></a></div>\n'
        )

    def _row(self, article: Article) -> str:
        text = article.text
        return (
            f'<tr><td><a href="/article/{article.id}/">{escape(text.title)}</a></td>'
            f"<td>{escape(text.author)}</td><td>{escape(self._tabs[article.tab])}</td>"
            f"<td>{CATEGORIES[text.category]}</td><td>{TASKS[text.task]}</td>"
            f"<td>{STATUS_TITLES[text.status]}</td><td>{german.short(article.updated_at)}</td></tr>\n"
        )


def index(account: Account, panes: list[Pane], active: str, category: int | None, task: int | None) -> str:
    choices = {"category": category, "task": task, "categories": CATEGORIES, "tasks": TASKS}
    return render("index.html", account=account, panes=panes, active=active, **choices)


def article(
    account: Account, shown_article: Article, tab: str, comments: list[Comment], token: str, problem: str = ""
) -> str:
    popularity = random.Random(shown_article.id)
    return render(
        "article.html",
        account=account,
        article=shown_article,
        text=shown_article.text,
        paragraphs=[part for part in shown_article.text.body.split("\n\n") if part.strip()],
        tab=tab,
        category=CATEGORIES[shown_article.text.category],
        task=TASKS[shown_article.text.task],
        likes=popularity.randint(0, 12),
        views=popularity.randint(12, 90),
        comments=comments,
        statuses=COMMENT_STATUSES,
        csrf_token=token,
        problem=problem,
    )


_LIST = '<div class="article-list">\n{}</div>'
_TABLE = (
    '<table class="table"><thead><tr><th>Titel</th><th>Autor</th><th>Sichtbarkeit</th><th>Kategorie</th>'
    "<th>Aufgabe</th><th>Status</th><th>Datum</th></tr></thead>\n<tbody>{}</tbody></table>"
)
