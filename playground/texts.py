"""The pupils' texts that ship with the playground, read from `articles/`."""

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import get_args

from playground.models import ArticleStatus, ArticleText


@cache
def shipped(language: str) -> tuple[ArticleText, ...]:
    """All texts of a language, `de` or `en`, in the order of their file names."""
    folder = files("playground") / "articles" / language
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".md"))
    return tuple(parse((folder / name).read_text("utf-8")) for name in names)


def parse(source: str) -> ArticleText:
    """A text with its front matter: `name: value` lines between two lines of `---`."""
    _, front, body = source.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.strip().splitlines())
    return ArticleText(
        title=fields["title"],
        author=fields["author"],
        category=int(fields["category"]),
        task=int(fields["task"]),
        status=_status(fields.get("status", "publiziert")),
        body=body.strip(),
        layout="textarea" if fields.get("layout") == "textarea" else "paragraphs",
    )


def nth(texts: tuple[ArticleText, ...], number: int) -> ArticleText:
    """The text of that number; past the end they come again with “(2)” in the title, “(3)” and so on."""
    turn, index = divmod(number, len(texts))
    text = texts[index]
    return text if turn == 0 else replace(text, title=f"{text.title} ({turn + 1})")


def _status(value: str) -> ArticleStatus:
    for status in get_args(ArticleStatus):
        if status == value:
            return status  # type: ignore[no-any-return]
    raise ValueError(f"unknown status of an article: {value}")
