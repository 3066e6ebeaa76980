"""The client against the playground's real wire: what a site does, what it is called, and what is sent once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from lib import http
from lib.errors import Invalid, OutcomeUnknown, Permanent, Refused, Transient
from lib.monitoring import mymoment
from lib.monitoring.mymoment import MyMoment, SessionExpired, Throttle, find_own, throttle_for
from lib.monitoring.pages import SiteComment
from playground.config import Config
from playground.serve import running

LIMITS = http.Limits(seconds=2, total_seconds=3, max_bytes=1_000_000, allow_private=True)
SHORT = http.Limits(seconds=0.3, total_seconds=0.5, max_bytes=100_000, allow_private=True)
TEXT = "[Dieser Kommentar stammt von einem KI-ChatBot.] Toll & schön,\n\nüber <3 Rotpandas „so“!"


class Playground:
    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        async with httpx.AsyncClient() as client:
            answer = await client.request(method, f"{self.url}/control/{path}", json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    async def fault(self, kind: str, **more: object) -> None:
        await self.ask("POST", "faults", {"kind": kind, **more})

    async def comments(self) -> list[str]:
        return [comment["text"] for comment in await self.ask("GET", "comments") if comment["author"] == "ki-bot"]

    async def count(self, what: str) -> int:
        return int((await self.ask("GET", "requests"))[what])


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    async with running(Config(new_article_every=0)) as served:
        yield Playground(served.url)


@pytest.fixture
async def site(playground: Playground) -> AsyncIterator[MyMoment]:
    async with MyMoment(playground.url, LIMITS) as client:
        await client.log_in("ki-bot", "demo-ki-bot")
        yield client


async def first_article(site: MyMoment) -> str:
    return (await site.index("alle")).entries[0].article_id


async def token_for(site: MyMoment, article_id: str) -> str:
    token = (await site.article(article_id)).csrf_token
    assert token
    return token


async def test_a_stored_session_is_used_again(playground: Playground, site: MyMoment) -> None:
    stored = site.cookies()
    async with MyMoment(playground.url, LIMITS, cookies=stored) as again:
        assert (await again.index("alle")).entries
    assert await playground.count("log_ins") == 1


@pytest.mark.parametrize("stored", [None, "", "no json", "{}", "[1]", '[{"name": "x"}]', '{"a": 1}'])
async def test_an_unusable_stored_session_asks_for_a_log_in(playground: Playground, stored: str | None) -> None:
    async with MyMoment(playground.url, LIMITS, cookies=stored) as client:
        with pytest.raises(SessionExpired):
            await client.index("alle")
        await client.log_in("ki-bot", "demo-ki-bot")
        assert (await client.index("alle")).entries


async def test_a_wrong_password_is_refused_by_name_without_the_password(playground: Playground) -> None:
    async with MyMoment(playground.url, LIMITS) as client:
        with pytest.raises(Refused, match=r"127\.0\.0\.1:\d+ does not accept") as refused:
            await client.log_in("ki-bot", "s3cret")
        assert "s3cret" not in str(refused.value)


async def test_trouble_at_the_log_in_is_not_the_passwords_fault(playground: Playground) -> None:
    async with MyMoment(playground.url, SHORT) as client:
        for kind, more in (
            ("status", {"status": 503}),
            ("drop_before", {}),
            ("drop_after", {}),
            ("latency", {"seconds": 2}),
        ):
            await playground.fault(kind, route="login", method="POST", **more)
            with pytest.raises(Transient):
                await client.log_in("ki-bot", "demo-ki-bot")
        await client.log_in("ki-bot", "demo-ki-bot")


async def test_the_index_is_that_of_the_tab_and_filter(site: MyMoment) -> None:
    whole = await site.index("alle")
    own_class = await site.index(whole.tabs[2].id)
    assert {entry.article_id for entry in own_class.entries} < {entry.article_id for entry in whole.entries}
    some = await site.index("alle", category="7")
    assert 0 < len(some.entries) < len(whole.entries)
    assert (await site.index("home")).entries == ()


async def test_an_unknown_tab_is_named_with_the_known_ones(site: MyMoment) -> None:
    with pytest.raises(Permanent, match=r"has no tab '999&x'; it has: 'home' \(Meine\), 'alle' \(Alle\)"):
        await site.index("999&x")


async def test_the_teachers_view_knows_category_and_minute(playground: Playground) -> None:
    async with MyMoment(playground.url, LIMITS) as client:
        await client.log_in("lehrerin", "demo-lehrerin")
        entry = (await client.index("alle")).entries[0]
    assert entry.category
    assert entry.state
    assert entry.edited_at


async def test_an_article_is_read_whole_and_a_missing_one_is_named(site: MyMoment) -> None:
    page = await site.article(await first_article(site))
    assert page.title
    assert page.author
    assert len(page.content) > 100
    assert page.edited_at
    with pytest.raises(Permanent, match="article 999999 is not there"):
        await site.article("999999")
    with pytest.raises(Permanent, match="not the id of an article"):
        await site.article("1/../../x")


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_comment_is_posted_once_and_read_back_with_its_id(
    site: MyMoment, playground: Playground, hidden: bool
) -> None:
    article = await first_article(site)
    assert await site.post_comment(article, TEXT, csrf_token=await token_for(site, article), hidden=hidden)
    own = find_own((await site.article(article)).comments, TEXT)
    (stored,) = [one for one in await playground.ask("GET", "comments") if one["author"] == "ki-bot"]
    assert own is not None
    assert own.id == str(stored["id"])
    assert (stored["status"], stored["hidden"]) == (20, hidden)


async def test_a_form_shown_again_is_told_apart(site: MyMoment, playground: Playground) -> None:
    article = await first_article(site)
    assert not await site.post_comment(article, "  ", csrf_token=await token_for(site, article), hidden=False)
    assert await playground.comments() == []


@pytest.mark.parametrize(
    ("kind", "more", "arrived"),
    [
        ("drop_before", {}, False),
        ("drop_after", {}, True),
        ("drop_after", {"reset": True}, True),
        ("status", {"status": 502}, False),
        ("status", {"status": 500, "when": "after_accept"}, True),
        ("truncate", {}, True),
        ("latency", {"seconds": 4, "when": "after_accept"}, True),
        ("oversize", {"mb": 2}, True),
    ],
)
async def test_without_an_answer_the_outcome_is_unknown_and_nothing_is_sent_again(
    site: MyMoment, playground: Playground, kind: str, more: dict[str, object], arrived: bool
) -> None:
    article = await first_article(site)
    token = await token_for(site, article)
    await playground.fault(kind, route="comment", **more)
    with pytest.raises(OutcomeUnknown, match=f"article {article}: sent, then"):
        await site.post_comment(article, TEXT, csrf_token=token, hidden=False)
    assert await playground.count("comment_posts") == 1
    assert (find_own((await site.article(article)).comments, TEXT) is not None) is arrived


async def test_what_the_site_turns_away_was_not_posted(site: MyMoment, playground: Playground) -> None:
    article = await first_article(site)
    token = await token_for(site, article)
    await playground.fault("rate_limit", route="comment", retry_after=7)
    with pytest.raises(Transient, match="429") as limited:
        await site.post_comment(article, TEXT, csrf_token=token, hidden=False)
    assert limited.value.retry_after == 7
    with pytest.raises(Transient, match="403"):
        await site.post_comment(article, TEXT, csrf_token="stale", hidden=False)
    with pytest.raises(Permanent, match="comment on article 999999: HTTP 404"):
        await site.post_comment("999999", TEXT, csrf_token=token, hidden=False)
    assert await playground.comments() == []


async def test_an_expired_session_is_said_at_once_in_answer_to_anything(site: MyMoment, playground: Playground) -> None:
    article = await first_article(site)
    token = await token_for(site, article)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: site.post_comment(article, TEXT, csrf_token=token, hidden=False),
        lambda: site.article(article),
        lambda: site.index("alle"),
    ]
    await playground.fault("expire_session", user="ki-bot", route="comment")
    await playground.ask("DELETE", "requests")
    for call in calls:
        with pytest.raises(SessionExpired):
            await call()
    counts = await playground.ask("GET", "requests")
    assert (counts["comment_posts"], counts["article_fetches"], counts["index_fetches"]) == (1, 1, 1)
    assert await playground.comments() == []


async def test_nobody_listening_is_transient_for_a_post_too() -> None:
    async with MyMoment("http://127.0.0.1:9", LIMITS) as client:
        with pytest.raises(Transient, match="was not sent"):
            await client.post_comment("1", TEXT, csrf_token="x", hidden=False)
        with pytest.raises(Transient):
            await client.article("1")


async def test_a_private_address_is_refused_before_anything_is_sent(playground: Playground) -> None:
    async with MyMoment(playground.url, http.Limits()) as client:
        with pytest.raises(Refused, match="private address"):
            await client.post_comment("1", TEXT, csrf_token="x", hidden=False)
    assert await playground.count("comment_posts") == 0


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("status", {"status": 500}),
        ("drop_before", {}),
        ("truncate", {}),
        ("malformed", {}),
        ("drop_after", {"reset": True}),
    ],
)
async def test_a_read_is_repeated_at_once(
    site: MyMoment, playground: Playground, kind: str, more: dict[str, object]
) -> None:
    article = await first_article(site)
    await playground.fault(kind, route="article", times=2, **more)
    assert (await site.article(article)).content


async def test_a_page_that_stays_broken_fails_by_name(playground: Playground, site: MyMoment) -> None:
    article = await first_article(site)
    await playground.fault("malformed", route="article", times=3)
    with pytest.raises(Transient, match=f"article {article}: the page broke off"):
        await site.article(article)
    await playground.fault("oversize", route="article", mb=2)
    with pytest.raises(Permanent, match="more than 1,000,000 bytes"):
        await site.article(article)
    await playground.fault("rate_limit", route="article", retry_after=30)
    with pytest.raises(Transient, match=f"article {article}: HTTP 429") as limited:
        await site.article(article)
    assert limited.value.retry_after == 30


# A site that the playground is not


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """A site that gives these answers in turn, the last for ever; `PORT` in them is its own."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer = left.pop(0) if len(left) > 1 else left[0]
        writer.write(answer.replace(b"PORT", str(port).encode()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://127.0.0.1:{port}"


def moved(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")


def shown(body: str, content_type: str = "text/html", charset: str = "utf-8") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode() + body.encode(charset)


ARTICLE = shown(
    "<html><h1>Ä von B</h1><div class=article><p class=highlight-target><p>x</p></div><form id=comment-create></html>"
)


@pytest.mark.parametrize(
    "location",
    [r"http://127.0.0.1:PORT\article\2/", "//127.0.0.1:PORT/article/2/", "/article/2/", r"\article\2", "?x=1"],
)
async def test_redirects_are_followed_on_the_same_site(location: str) -> None:
    async with answering(moved(location), ARTICLE) as url, MyMoment(url, LIMITS) as client:
        assert (await client.article("1")).title == "Ä"


@pytest.mark.parametrize(
    "location",
    ["http://evil.example/article/1/", r"\\evil.example\x", "//evil.example", "http://127.0.0.1:1/", "file:///etc/passwd",
     "http://127.0.0.1:PORT@evil.example/", "https://127.0.0.1:99/"],
)  # fmt: skip
async def test_a_redirect_to_another_site_is_permanent(location: str) -> None:
    async with answering(moved(location)) as url, MyMoment(url, LIMITS) as client:
        with pytest.raises(Permanent, match="redirects to"):
            await client.article("1")


async def test_redirects_in_a_circle_end() -> None:
    async with answering(moved("/article/1/")) as url, MyMoment(url, LIMITS) as client:
        with pytest.raises(Transient, match="more than 5 redirects"):
            await client.article("1")


@pytest.mark.parametrize("location", [r"https://127.0.0.1:443\accounts/login/", "/accounts/login/?next=/article/1/"])
async def test_a_redirect_to_the_log_in_page_is_not_followed(location: str) -> None:
    async with answering(moved(location)) as url, MyMoment(url, LIMITS) as client:
        for call in (client.article("1"), client.post_comment("1", "x", csrf_token="x", hidden=False)):
            with pytest.raises(SessionExpired):
                await call


async def test_a_log_in_page_with_http_200_is_an_expired_session() -> None:
    page = shown('<html><form><input name=username><input name=password type="password"></form></html>')
    async with answering(page) as url, MyMoment(url, LIMITS) as client:
        for call in (client.article("1"), client.post_comment("1", "x", csrf_token="x", hidden=False)):
            with pytest.raises(SessionExpired):
                await call


async def test_a_strange_redirect_after_a_post_is_for_reading_back() -> None:
    async with answering(moved("http://[nonsense")) as url, MyMoment(url, LIMITS) as client:
        assert await client.post_comment("1", "x", csrf_token="x", hidden=False)


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html; charset=iso-8859-1", "latin-1"),
        ("text/html; charset=hex", "utf-8"),
        ("text/html; charset=nope", "utf-8"),
    ],
)
async def test_pages_are_decoded_as_declared_or_as_utf_8(content_type: str, charset: str) -> None:
    page = shown("<html><h1>Ä von Ü</h1><form id=comment-create></form></html>", content_type, charset)
    async with answering(page) as url, MyMoment(url, LIMITS) as client:
        assert (await client.article("1")).author == "Ü"


async def test_a_site_that_is_no_writing_platform_has_no_log_in_form() -> None:
    async with answering(shown("<html>Hello</html>")) as url, MyMoment(url, LIMITS) as client:
        with pytest.raises(Transient, match=r"no log-in form at .*is the base URL right"):
            await client.log_in("ki-bot", "x")


# Without a wire


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("https://www.mymoment.ch", "https://www.mymoment.ch"),
        (" HTTPS://New.MyMoment.ch:443/ ", "https://new.mymoment.ch"),
        ("http://127.0.0.1:8765//", "http://127.0.0.1:8765"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://müsli.ch", "https://xn--msli-0ra.ch"),
    ],
)
def test_a_base_url_is_stored_in_one_form(text: str, stored: str) -> None:
    assert mymoment.validate_base_url(text) == stored
    assert mymoment.validate_base_url(stored) == stored


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "http://"),
        ("www.mymoment.ch", "http://"),
        ("ftp://a.example", "http://"),
        ("https://", "host"),
        ("https://a..b", "not the name of a host"),
        ("https://u:p@a.example", "username"),
        ("https://a.example?x", "query"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/articles/", "leave out '/articles/'"),
        ("https://a.example:99999", "no port 99999"),
        ("https://" + "a" * 5000 + "!", "address|host"),
        ("https://a.example:0", "port 0"),
        ("https://a b.example", "not the name of a host"),
        ("https://a.example\\x", "not the name of a host"),
        ("http://[::1", "not an address"),
        ("x" * 100_000, "not an address"),
    ],
)
def test_a_base_url_that_cannot_be_used_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        mymoment.validate_base_url(text)


def test_our_comment_is_found_however_the_site_shows_it() -> None:
    ours = "<p>[KI]</p><p>A&amp;B „so“ u\u0308ber</p>"
    found = [SiteComment("3", "bot", "[KI]\n\nA&B „so“ \u00fcber"), SiteComment("4", "bot", ours)]
    theirs = [SiteComment(None, "x", "[KI] A&B „so“ über"), SiteComment("1", "bot", "[KI] A&B über")]
    assert find_own([*theirs, *found], ours) == found[0]
    assert find_own([*theirs, *found], ours, {"3"}) == found[1]
    assert find_own([*theirs, *found], ours, {"3", "4"}) == theirs[0]
    assert find_own([*theirs, *found], ours, {"3", "4"}, without_id=False) is None
    assert find_own([], ours) is None


def test_a_placeholder_names_article_time_and_comment() -> None:
    comment_id = UUID("01234567-89ab-7def-8123-456789abcdef")
    assert mymoment.placeholder_id("4601", comment_id, 1_770_000_000.9) == "4601-1770000000-89abcdef"
    assert mymoment.placeholder_id("4601", comment_id).startswith("4601-")


async def test_a_throttle_lets_a_burst_through_and_then_keeps_the_pace() -> None:
    now, waits = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))

    throttle = Throttle(2, 5, clock=lambda: now[0], sleep=sleep)
    for _ in range(7):
        await throttle.wait()
    assert waits == [0.5, 1.0]
    now[0] = 100.0
    for _ in range(6):
        await throttle.wait()
    assert waits == [0.5, 1.0, 0.5]


def test_clients_of_one_site_share_a_throttle() -> None:
    first = throttle_for("https://One.example/", 2, 5)
    assert throttle_for("https://one.example", 4, 5) is first
    assert throttle_for("https://two.example", 2, 5) is not first


async def test_cookies_are_json_without_the_password(site: MyMoment) -> None:
    stored = json.loads(site.cookies())
    assert {cookie["name"] for cookie in stored} == {"sessionid", "csrftoken"}
    assert "demo-ki-bot" not in site.cookies()
