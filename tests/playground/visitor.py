"""Someone with a browser: cookies, forms, and redirects followed by hand."""

from collections.abc import Callable
from typing import Any, Self

import httpx
from bs4 import BeautifulSoup

LOGIN = "/accounts/login/"
Ask = Callable[..., dict[str, Any]]


# Where a redirect leads, as the site wrote it.
TARGET = "raw-location"


def set_location_aside(response: httpx.Response) -> None:
    """httpx raises on a Location with a port and a backslash, even when it is not to follow it."""
    if "location" in response.headers:
        response.headers[TARGET] = response.headers.pop("location")


class Visitor:
    def __init__(self, url: str, timeout: float = 5) -> None:
        self.http = httpx.Client(base_url=url, timeout=timeout, event_hooks={"response": [set_location_aside]})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def page(self, path: str) -> BeautifulSoup:
        response = self.http.get(path)
        assert response.status_code == 200, response.status_code
        return BeautifulSoup(response.text, "lxml")

    def token(self, path: str = LOGIN) -> str:
        return str(self.page(path).select_one("input[name=csrfmiddlewaretoken]")["value"])

    def log_in(self, username: str, password: str | None = None, target: str = "") -> httpx.Response:
        form = {"csrfmiddlewaretoken": self.token(), "next": target}
        form |= {"username": username, "password": password or f"demo-{username}"}
        return self.http.post(LOGIN, data=form)

    @property
    def is_logged_in(self) -> bool:
        home = self.http.get("/")
        return bool(BeautifulSoup(home.text, "lxml").select('form[action="/accounts/logout/"]'))

    def first_article(self, tab: str = "102") -> int:
        return self.articles(tab)[0]

    def articles(self, tab: str, query: str = "") -> list[int]:
        links = self.page(f"/articles/?tab={tab}{query}").select(f'#pills-{tab} a[href^="/article/"]')
        return [int(str(link["href"]).split("/")[2]) for link in links]

    def comment(self, article_id: int, text: str, **fields: str) -> httpx.Response:
        form = {"csrfmiddlewaretoken": self.token(f"/article/{article_id}/"), "text": text}
        form |= {"status": "20", "highlight": ""} | fields
        return self.http.post(f"/article/{article_id}/comment/", data=form)

    def comments(self, article_id: int) -> list[str]:
        return [
            card.get_text(strip=True) for card in self.page(f"/article/{article_id}/").select(".comment .card-text")
        ]
