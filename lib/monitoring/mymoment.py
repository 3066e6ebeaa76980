"""The site, as one login sees it: log in, read an index or an article, post a comment once."""

import asyncio
import html
import json
import re
import threading
import time
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Iterable
from http.cookiejar import Cookie
from typing import Final, Self, TypeVar
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import httpx

from lib import http, retry
from lib.errors import Invalid, OutcomeUnknown, Permanent, Refused, Transient
from lib.http import Limits
from lib.monitoring import pages
from lib.monitoring.pages import ArticlePage, Index, SiteComment

LOGIN: Final = "/accounts/login/"
PUBLISHED: Final = "20"
MAX_REDIRECTS: Final = 5
LONG_PAGE: Final = 50_000  # characters
MAX_PORT: Final = 65_535
NO_SUCH_ARTICLE: Final = (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.GONE)
CHARSETS: Final = ("utf-8", "iso-8859-1", "iso-8859-15", "windows-1252", "us-ascii")


Page = TypeVar("Page")


class SessionExpired(Transient):
    """The site asks for a log-in: log in again, then repeat."""


class Throttle:
    """A token bucket: `burst` at once, then `rate` a second, in the order of asking. For any thread or loop."""

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._counted_at = clock()

    def allow(self, rate: float, burst: int) -> None:
        """Change the pace, from now on."""
        with self._lock:
            self._count()
            self._rate, self._burst = rate, burst

    async def wait(self) -> None:
        """Return when one more request may go out."""
        with self._lock:
            self._count()
            self._tokens -= 1  # below zero it is a place in the queue
            seconds = max(0.0, -self._tokens / self._rate)
        if seconds:
            await self._sleep(seconds)

    def _count(self) -> None:
        now = self._clock()
        self._tokens = min(float(self._burst), self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now


_throttles: dict[str, Throttle] = {}
_throttles_lock = threading.Lock()


def throttle_for(base_url: str, rate: float, burst: int) -> Throttle:
    """The one bucket of a site in this process, whoever asks for it; the latest pace applies."""
    site = urlsplit(base_url).netloc.lower()
    with _throttles_lock:
        throttle = _throttles.setdefault(site, Throttle(rate, burst))
    throttle.allow(rate, burst)
    return throttle


_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?!.{{254}}){_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\]")


def validate_base_url(text: str) -> str:
    """The address of a site as we store it; Invalid names what is wrong with it."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise Invalid(f"'{text[:100]}' is not an address: {error}") from error
    host = url.raw_host.decode()
    host = f"[{host}]" if ":" in host else host
    wrong = None
    if url.scheme not in ("http", "https"):
        wrong = "it must begin with http:// or https://"
    elif not _HOST.fullmatch(host):
        wrong = f"'{host}' is not the name of a host"
    elif url.userinfo:
        wrong = "it may not hold a username or password"
    elif "?" in text or "#" in text:
        wrong = "it may not hold a query or a fragment"
    elif url.path.strip("/"):
        wrong = f"it ends at the host; leave out '{url.path}'"
    elif url.port == 0 or (url.port or 1) > MAX_PORT:
        wrong = f"there is no port {url.port}"
    if wrong:
        raise Invalid(f"'{text[:100]}' cannot be a base URL: {wrong}")
    usual = {"http": 80, "https": 443}[url.scheme]
    return f"{url.scheme}://{host}" + ("" if url.port in (None, usual) else f":{url.port}")


class MyMoment:
    """One login's way to one site. `async with MyMoment(...) as site:` closes its connections.

    `cookies`: what `cookies()` gave before; anything else begins without a session.
    """

    def __init__(
        self, base_url: str, limits: Limits, *, cookies: str | None = None, throttle: Throttle | None = None
    ) -> None:
        self._base_url = validate_base_url(base_url)
        self._site = urlsplit(self._base_url).netloc
        self._limits = limits
        self._throttle = throttle
        self._client = http.client(limits)
        for cookie in _restored(cookies):
            self._client.cookies.jar.set_cookie(cookie)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    def cookies(self) -> str:
        """The session as JSON, to be stored encrypted."""
        kept = ("name", "value", "domain", "path", "secure", "expires")
        return json.dumps([{key: getattr(cookie, key) for key in kept} for cookie in self._client.cookies.jar])

    async def log_in(self, username: str, password: str) -> None:
        """Begin a session. Raises Refused when the site does not accept username and password."""
        self._client.cookies.clear()
        what = f"{self._site}: log-in"
        form = await self._read(LOGIN, what)
        token = pages.read_csrf(form.text)
        if token is None:
            raise Transient(f"{what}: there is no log-in form at {form.url}; is the base URL right?")
        fields = {"csrfmiddlewaretoken": token, "next": "", "username": username, "password": password}
        try:
            # A form without an action goes to where it was found, which https may have moved.
            answer = await self._send("POST", str(form.url), fields, referer=str(form.url))
        except (httpx.HTTPError, TimeoutError) as error:
            raise Transient(f"{what}: {_reason(error)}") from error
        http.raise_for_trouble(answer, what)
        # The answer proves nothing, since the form comes again with HTTP 200: only the log-out form does.
        try:
            home = (await self._read("/", what)).text
        except SessionExpired:
            home = ""
        if not pages.is_logged_in(home):
            raise Refused(f"{self._site} does not accept this login's username and password")

    async def index(self, tab: str, category: str | None = None, task: str | None = None) -> Index:
        """The articles of a tab. Raises Permanent for a tab that is not there."""
        query = httpx.QueryParams({"tab": tab, "kategorie": category or "", "aufgabe": task or ""})
        page = await self._read(f"/articles/?{query}", f"{self._site}: index of tab '{tab}'")
        index = await _parsed(lambda html: pages.read_index(html, tab), page)
        if not index.tab_found:
            known = ", ".join(f"'{tab.id}' ({tab.name})" for tab in index.tabs) or "none at all"
            raise Permanent(f"{self._site} has no tab '{tab}'; it has: {known}")
        return index

    async def article(self, article_id: str) -> ArticlePage:
        """An article and its comments. Raises Permanent when it is gone, closed to us or unreadable."""
        what = f"{self._site}: article {_checked_id(article_id)}"
        page = await self._read(f"/article/{article_id}/", what, answers=NO_SUCH_ARTICLE)
        if page.status_code in NO_SUCH_ARTICLE:
            raise Permanent(f"{what} is not there for this login: HTTP {page.status_code}")
        try:
            return await _parsed(pages.read_article, page)
        except Permanent as error:
            raise Permanent(f"{what}: {error}") from error

    async def post_comment(self, article_id: str, text: str, *, csrf_token: str, hidden: bool) -> bool:
        """Send the comment form once, as published; False if the site showed the form again.

        Neither answer proves anything, so read the article back. OutcomeUnknown: the request went out and may have
        arrived. Transient (SessionExpired too, and 403, which answers a stale token), Refused and Permanent: it did
        not go out, or the site turned it away.
        """
        what = f"{self._site}: comment on article {_checked_id(article_id)}"
        path = f"{self._base_url}/article/{article_id}/"
        fields = {"csrfmiddlewaretoken": csrf_token, "text": text, "status": PUBLISHED, "highlight": ""}
        if hidden:
            fields["hide"] = "on"
        try:
            answer = await self._send("POST", f"{path}comment/", fields, referer=path)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Transient(f"{what} was not sent: {_reason(error)}") from error
        except (httpx.HTTPError, TimeoutError, Permanent) as error:  # Permanent: an answer that is no answer
            raise OutcomeUnknown(f"{what}: sent, then {_reason(error)}") from error
        return _was_taken(answer, what)

    async def _read(self, path: str, what: str, answers: tuple[int, ...] = ()) -> httpx.Response:
        """A page, its redirects followed. Statuses in `answers` are the caller's to judge, other failures raise."""

        async def attempt() -> httpx.Response:
            try:
                page = await self._followed(self._base_url + path, what)
            except (httpx.HTTPError, TimeoutError) as error:
                raise Transient(f"{what}: {_reason(error)}") from error
            if page.status_code not in answers:
                http.raise_for_trouble(page, what)
                _raise_if_cut(page, what)
            return page

        page = await retry.quickly(attempt)
        # Outside the quick retries: asking again would not bring the session back.
        if path != LOGIN:
            _raise_if_login(page, what)
        return page

    async def _followed(self, url: str, what: str) -> httpx.Response:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._send("GET", url)
            target = _target(answer)
            if target is None or (_is_login(target) and not _is_login(url)):
                return answer
            self._stay_on_site(url, target, what)
            url = target
        raise Transient(f"{what}: more than {MAX_REDIRECTS} redirects, the last to {url}")

    def _stay_on_site(self, url: str, target: str, what: str) -> None:
        here, there = httpx.URL(url), httpx.URL(target)
        if there.host != here.host or (there.scheme, there.port) not in (
            (here.scheme, here.port),
            ("https", None),  # an upgrade to https on its own port
        ):
            raise Permanent(f"{what}: it redirects to another site, {there.scheme}://{there.netloc.decode()}")
        if there.scheme != here.scheme:
            # What is posted must go there directly: a redirect would drop it.
            self._base_url = f"https://{there.netloc.decode()}"

    async def _send(
        self, method: str, url: str, fields: dict[str, str] | None = None, *, referer: str | None = None
    ) -> httpx.Response:
        """One request, once. The clock runs for the exchange, not for the wait of the throttle."""
        if self._throttle:
            await self._throttle.wait()
        headers = {"Referer": referer} if referer else {}
        async with asyncio.timeout(self._limits.total_seconds):
            answer = await self._client.request(method, url, data=fields, headers=headers)
        charset = (answer.charset_encoding or "utf-8").lower()
        answer.encoding = charset if charset in CHARSETS else "utf-8"  # of `text`, which is decoded once
        return answer


def _was_taken(answer: httpx.Response, what: str) -> bool:
    """What the answer to a comment says. Raises for one that was turned away or may be lost."""
    status = answer.status_code
    if status >= http.SERVER_ERRORS or status == httpx.codes.REQUEST_TIMEOUT:
        raise OutcomeUnknown(f"{what}: sent, then HTTP {status}")
    if status in (http.TOO_MANY, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Transient(f"{what}: HTTP {status}", http.retry_after(answer))
    if status >= httpx.codes.BAD_REQUEST:
        raise Permanent(f"{what}: HTTP {status}")
    if answer.is_redirect:
        # Not _target, which refuses nonsense: what was taken must not be judged by where it leads.
        if _is_login(answer.headers["location"]):
            raise SessionExpired(f"{what}: the session has expired")
        return True
    _raise_if_login(answer, what)
    return 'id="comment-create"' not in answer.text


def _raise_if_login(answer: httpx.Response, what: str) -> None:
    target = _target(answer)
    if _is_login(target) if target else pages.is_login_page(answer.text):
        raise SessionExpired(f"{what}: the session has expired")


def _target(answer: httpx.Response) -> str | None:
    """Where an answer redirects to, if it does."""
    location = answer.headers.get("location", "")
    if not answer.is_redirect or not location:
        return None
    try:
        return str(httpx.URL(urljoin(str(answer.url), location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise Permanent(f"{answer.url.host} redirects to what is no address: {location[:200]!r}") from error


def _is_login(url: str) -> bool:
    return url.partition("?")[0].rstrip("/").endswith(LOGIN.rstrip("/"))


async def _parsed(read: Callable[[str], Page], answer: httpx.Response) -> Page:
    """Parse a long page in a thread: everything else on the event loop would wait for it."""
    text = answer.text
    return read(text) if len(text) < LONG_PAGE else await asyncio.to_thread(read, text)


def _raise_if_cut(page: httpx.Response, what: str) -> None:
    """A page that broke off could hide our comment from a reading back, so it is no page."""
    if b"</html" not in page.content[-2000:].lower() and b"<html" in page.content.lower():
        raise Transient(f"{what}: the page broke off after {len(page.content):,} bytes")


def _reason(error: Exception) -> str:
    return str(error) or {"TimeoutError": "it took too long"}.get(type(error).__name__, type(error).__name__)


def _checked_id(article_id: str) -> str:
    if not re.fullmatch(r"[0-9]{1,18}", article_id):
        raise Permanent(f"'{article_id[:50]}' is not the id of an article")
    return article_id


_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*>")


def comparable(text: str) -> str:
    """A comment's text as it looks on a page, however the site stored it: no tags, entities or spacing; NFC."""
    blocks = pages.BLOCK_TAGS | {"br"}
    plain = _TAG.sub(lambda tag: " " if tag[2].lower() in blocks else "", html.unescape(text))
    return " ".join(pages.clean(unicodedata.normalize("NFC", plain)).split())


def find_own(
    comments: Iterable[SiteComment], text: str, exclude_ids: Collection[str] = (), *, without_id: bool = True
) -> SiteComment | None:
    """The first comment that reads like ours and has an id that is none of `exclude_ids`.

    `without_id`: accept one whose id the page does not show, if there is no other. It may be somebody else's with
    the same words.
    """
    wanted = comparable(text)
    same = [comment for comment in comments if comparable(comment.text) == wanted]
    ours = (comment for comment in same if comment.id is not None and comment.id not in exclude_ids)
    unsigned = (comment for comment in same if comment.id is None and without_id)
    return next(ours, None) or next(unsigned, None)


def count_alike(comments: Iterable[SiteComment], text: str) -> int:
    """How many comments read like ours and show no id."""
    wanted = comparable(text)
    return sum(comment.id is None and comparable(comment.text) == wanted for comment in comments)


def placeholder_id(article_id: str, comment_id: UUID, at: float | None = None) -> str:
    """Stands for a comment's id where the page shows none: article, Unix time, last 8 of our own UUID.

    The first 8 of a UUIDv7 are its time, which comments made together share.
    """
    return f"{article_id}-{int(time.time() if at is None else at)}-{str(comment_id)[-8:]}"


def _restored(stored: str | None) -> list[Cookie]:
    try:
        return [_cookie(**entry) for entry in json.loads(stored or "[]")]
    except (ValueError, TypeError):
        return []


def _cookie(*, name: str, value: str, domain: str, path: str, secure: bool, expires: float | None) -> Cookie:
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=True,
        domain_initial_dot=domain.startswith("."),
        path=path,
        path_specified=True,
        secure=secure,
        expires=None if expires is None else int(expires),
        discard=expires is None,
        comment=None,
        comment_url=None,
        rest={},
    )
