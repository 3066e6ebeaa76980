"""The console as a browser and a program meet it: getting in, staying in, and everything that keeps others out."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import argon2
import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import func, select, text
from typer.testing import CliRunner

from console.app import API, PAGES, create_app
from console.cli.main import app as cli_app
from console.security import headers, sessions
from lib import vault
from lib.database import Database
from lib.errors import Invalid, NotFound, Transient
from lib.people import members, own, passwords, sign_in, throttle
from lib.people.members import Doer
from lib.people.models import Account, AuditEntry, SignInAttempt
from lib.people.roles import Role
from lib.people.sign_in import ensure_first_admin_link
from lib.people.store import accounts, attempts, audit, links
from lib.people.throttle import ACCOUNT, ADDRESS
from lib.settings import Settings

PASSWORD = "three blind mice in a row"
NEW_PASSWORD = "four calling birds and a tree"
HOST = "http://127.0.0.1:8400"
SYSTEM = Doer(None, "test")
WAIT = 120
CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass
class Browser:
    """Keeps cookies, follows nothing, and sends each form with the token of the page that it came from."""

    client: httpx.AsyncClient
    headers: dict[str, str]

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, headers=self.headers | more.pop("headers", {}), **more)

    async def token(self, page: str = "/account") -> str:
        found = CSRF.search((await self.get(page)).text)
        assert found is not None, page
        return found[1]

    async def post(self, path: str, page: str = "/account", **fields: str) -> httpx.Response:
        form = {"csrf_token": await self.token(page)} | fields
        return await self.client.post(path, data=form, headers=self.headers | {"Origin": HOST})

    async def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return await self.post("/login", "/login", name=name, password=password)

    @property
    def session(self) -> str | None:
        return self.client.cookies.get("pressroom_session")


@dataclass
class House:
    """The application, its database, and people in it."""

    app: FastAPI
    database: Database

    @asynccontextmanager
    async def browser(self, base: str = HOST, address: str = "192.0.2.7", **headers: str) -> AsyncIterator[Browser]:
        transport = httpx.ASGITransport(self.app, client=(address, 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield Browser(client, headers)

    async def person(self, name: str, role: Role = "viewer", password: str = PASSWORD) -> accounts.Person:
        made = await members.invite(self.database, SYSTEM, name, role)
        await sign_in.use_link(self.database, made.path.removeprefix("/setup/"), password, None, "192.0.2.1")
        return await members.find(self.database, name)

    @asynccontextmanager
    async def as_(self, name: str, role: Role = "viewer") -> AsyncIterator[Browser]:
        """Somebody new, signed in."""
        await self.person(name, role)
        async with self.browser() as browser:
            assert (await browser.sign_in(name)).status_code == 303
            yield browser

    async def bearer(self, person: accounts.Person, *scopes: str) -> dict[str, str]:
        most = frozenset(("read", "write", "admin"))
        made = await own.make_token(self.database, SYSTEM, person.id, "program", scopes, 1, most)
        return {"Authorization": f"Bearer {made.text}"}


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no wait is over by itself while a test runs."""
    for kind, limit in (("ACCOUNT", ACCOUNT), ("ADDRESS", ADDRESS)):
        monkeypatch.setattr(throttle, kind, replace(limit, first=WAIT))


@pytest.fixture
async def house(settings: Settings, long_waits: None) -> AsyncIterator[House]:
    del long_waits
    app = create_app(settings)
    app.include_router(extra, prefix="/api/v1")
    async with app.router.lifespan_context(app):
        yield House(app, app.state.console.database)


extra = APIRouter()


@extra.get("/fails/{how}")
async def fails(how: str) -> None:
    errors: dict[str, Exception] = {
        "unexpected": RuntimeError("the password is swordfish"),
        "transient": Transient("The site is away", retry_after=2.4),
        "database": ConnectionRefusedError("no"),
        "field": Invalid("The tab must be a number", field="tab"),
        "missing": NotFound("There is no process “x”"),
    }
    raise errors[how]


def audit_text(entries: list[AuditEntry]) -> str:
    return " ".join(f"{entry.action} {entry.details} {entry.subject_id}" for entry in entries)


async def logged(house: House) -> list[AuditEntry]:
    async with house.database.session() as session:
        return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


# The first administrator


async def first_link(house: House) -> str:
    link = await ensure_first_admin_link(house.database)
    assert link is not None
    return link.path


async def test_the_first_admin_sets_up_once_and_owns_what_the_command_line_made(house: House) -> None:
    async with house.database.session() as session:
        operator = await links.ensure_operator(session)
    path = await first_link(house)
    async with house.browser() as browser:
        assert 'value="operator"' in (await browser.get(path)).text
        done = await browser.post(path, path, name="Ann", password=PASSWORD, repeated=PASSWORD)
        assert (done.status_code, done.headers["Location"]) == (303, "/")
        me = (await browser.get("/api/v1/me")).json()
        assert me == {"id": str(operator), "name": "Ann", "role": "admin", "scopes": None, "via": "session"}
        again = await browser.post(path, "/account", name="Eve", password=NEW_PASSWORD, repeated=NEW_PASSWORD)
        assert again.status_code == 404
    async with house.browser() as other:
        assert (await other.get(path)).status_code == 404
    assert await ensure_first_admin_link(house.database) is None
    async with house.database.session() as session:
        assert await links.ensure_operator(session) == operator


async def test_of_two_who_use_the_link_at_the_same_time_one_gets_in(house: House) -> None:
    path = await first_link(house)
    async with house.browser() as one, house.browser() as other:
        answers = await asyncio.gather(
            one.post(path, path, name="one", password=PASSWORD, repeated=PASSWORD),
            other.post(path, path, name="other", password=NEW_PASSWORD, repeated=NEW_PASSWORD),
        )
    assert sorted(answer.status_code for answer in answers) == [303, 404]
    async with house.database.session() as session:
        assert await session.scalar(select(func.count()).where(Account.password_hash.is_not(None))) == 1


async def test_a_new_start_replaces_the_link_and_a_mistake_does_not_use_it_up(house: House) -> None:
    old, path = await first_link(house), await first_link(house)
    async with house.browser() as browser:
        assert (await browser.get(old)).status_code == 404
        for fields, said in (
            ({"name": "Ann", "password": "short", "repeated": "short"}, "at least 12 characters"),
            ({"name": "Ann", "password": PASSWORD, "repeated": NEW_PASSWORD}, "The two passwords differ"),
            ({"name": "A\u202en", "password": PASSWORD, "repeated": PASSWORD}, "U+202E"),
            ({"name": "", "password": PASSWORD, "repeated": PASSWORD}, "empty"),
        ):
            wrong = await browser.post(path, path, **fields)
            assert wrong.status_code == 422
            assert said in wrong.text
            assert 'aria-invalid="true"' in wrong.text
            assert PASSWORD not in wrong.text
        done = await browser.post(path, path, name="Ann", password=PASSWORD, repeated=PASSWORD)
        assert done.status_code == 303


async def test_the_link_of_the_first_admin_dies_when_there_is_one_by_another_way(house: House) -> None:
    path = await first_link(house)
    await house.person("boss", "admin")
    async with house.browser() as browser:
        assert (await browser.get(path)).status_code == 404


async def test_a_link_expires(house: House) -> None:
    path = await first_link(house)
    async with house.database.session() as session:
        await session.execute(text("UPDATE one_time_links SET expires_at = now()"))
    async with house.browser() as browser:
        assert (await browser.get(path)).status_code == 404


# Signing in


async def test_a_person_signs_in_and_comes_to_where_they_wanted(house: House) -> None:
    await house.person("ann")
    async with house.browser() as browser:
        sent = await browser.get("/account?x=1")
        assert (sent.status_code, sent.headers["Location"]) == (303, "/login?next=%2Faccount%3Fx%3D1")
        page = sent.headers["Location"]
        done = await browser.post("/login", page, name="ann", password=PASSWORD, next="/account?x=1")
        assert done.headers["Location"] == "/account?x=1"
        elsewhere = await browser.post("/login", "/account", name="ann", password=PASSWORD, next="//evil.example")
        assert elsewhere.headers["Location"] == "/"
        assert (await browser.get("/login?next=https://evil.example")).headers["Location"] == "/"


async def test_a_wrong_name_and_a_wrong_password_are_answered_alike_and_take_the_same_work(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.person("ann")
    await members.invite(house.database, SYSTEM, "invited", "viewer")
    work: list[str | None] = []
    verify = passwords._matches

    def counted(password: bytes, password_hash: str | None) -> bool:
        work.append(password_hash and "a hash")
        return verify(password, password_hash)

    monkeypatch.setattr(passwords, "_matches", counted)
    pages = set()
    async with house.browser() as browser:
        for name in ("ann", "nobody", "invited", "a\x00b", "\u202e"):
            answer = await browser.sign_in(name, "wrong wrong wrong")
            assert answer.status_code == 422
            pages.add(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(pages) == 1
    assert work == ["a hash", None, None, None, None]


async def test_an_old_hash_is_made_anew_at_the_next_sign_in(house: House) -> None:
    person = await house.person("ann")
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    async with house.database.session() as session:
        await accounts.set_password(session, person.id, weak)
    async with house.browser() as browser:
        assert (await browser.sign_in("ann")).status_code == 303
    async with house.database.session() as session:
        fresh = await session.scalar(select(Account.password_hash))
    assert fresh != weak
    assert not passwords.is_outdated(fresh or "")


# Throttle


async def test_guessing_has_to_wait_longer_and_longer_and_the_right_one_gets_in_in_the_end(house: House) -> None:
    await house.person("ann")
    async with house.browser() as browser:
        for _ in range(ACCOUNT.free):
            assert (await browser.sign_in("ann", "wrong wrong wrong")).status_code == 422
        refused = await browser.sign_in("ann")
        assert refused.status_code == 429
        assert WAIT - 20 < int(refused.headers["Retry-After"]) <= WAIT
        assert "Too many attempts" in refused.text
        await wait_is_over(house)
        assert (await browser.sign_in("ann", "wrong wrong wrong")).status_code == 422
        assert await blocked_for(house) > WAIT + 20
        await wait_is_over(house)
        assert (await browser.sign_in("ann")).status_code == 303
    async with house.browser() as another:  # forgiven
        assert (await another.sign_in("ann", "wrong wrong wrong")).status_code == 422
        assert (await another.sign_in("ann")).status_code == 303


async def wait_is_over(house: House) -> None:
    async with house.database.session() as session:
        await session.execute(text("UPDATE sign_in_attempts SET blocked_until = now()"))


async def blocked_for(house: House) -> float:
    async with house.database.session() as session:
        statement = text("SELECT extract(epoch FROM max(blocked_until - now())) FROM sign_in_attempts")
        return float((await session.execute(statement)).scalar_one())


async def test_no_failure_locks_for_good(house: House) -> None:
    async with house.database.session() as session:
        key = throttle.account_key("ann")
        for _ in range(60):
            assert await attempts.count(session, "account", key, ACCOUNT) == 0
            await session.execute(text("UPDATE sign_in_attempts SET blocked_until = now()"))
        await attempts.count(session, "account", key, ACCOUNT)
        assert await attempts.count(session, "account", key, ACCOUNT) == pytest.approx(ACCOUNT.longest, abs=1)
        old = "UPDATE sign_in_attempts SET blocked_until = now(), last_failed_at = now() - interval '2 days'"
        await session.execute(text(old))
        assert await attempts.count(session, "account", key, ACCOUNT) == 0
        assert await attempts.count(session, "account", key, ACCOUNT) == 0  # it began anew


@pytest.mark.parametrize("failures", range(12))
async def test_the_database_waits_as_the_rule_says(database: Database, failures: int) -> None:
    key = throttle.account_key("ann")
    async with database.session() as session:
        for _ in range(failures):
            await attempts.count(session, "account", key, ACCOUNT)
            await session.execute(text("UPDATE sign_in_attempts SET blocked_until = now()"))
        await attempts.count(session, "account", key, ACCOUNT)
        waited = await session.scalar(select(func.extract("epoch", SignInAttempt.blocked_until - func.now())))
    assert float(waited or 0) == throttle.wait_after(failures + 1, ACCOUNT)


async def test_guesses_at_the_same_time_and_in_two_consoles_count_together(house: House, settings: Settings) -> None:
    await house.person("ann")
    second = create_app(settings)
    async with second.router.lifespan_context(second):
        houses = (house, House(second, second.state.console.database))

        async def guess(number: int) -> int:
            async with houses[number % 2].browser(address=f"198.51.100.{number}") as browser:
                return (await browser.sign_in("ann", "wrong wrong wrong")).status_code

        found = await asyncio.gather(*(guess(number) for number in range(16)))
    assert sorted(set(found)) == [422, 429]
    assert found.count(422) == ACCOUNT.free


async def test_an_unknown_name_is_throttled_like_a_known_one(house: House) -> None:
    async with house.browser() as browser:
        codes = [(await browser.sign_in("nobody", "wrong wrong wrong")).status_code for _ in range(ACCOUNT.free + 1)]
    assert codes == [422] * ACCOUNT.free + [429]


async def test_one_address_that_tries_many_names_has_to_wait_and_others_need_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit(free=3, longest=300, first=WAIT))
    await house.person("ann")
    async with house.browser(address="198.51.100.9") as bad, house.browser(address="192.0.2.9") as good:
        codes = [(await bad.sign_in(f"name {number}", "wrong wrong wrong")).status_code for number in range(4)]
        assert codes == [422, 422, 422, 429]
        assert (await bad.sign_in("ann")).status_code == 429
        assert (await good.sign_in("ann")).status_code == 303


async def test_a_success_does_not_wipe_out_the_guesses_of_an_address(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit(free=3, longest=300, first=WAIT))
    await house.person("eve")
    codes = []
    for number in range(4):
        async with house.browser(address="198.51.100.9") as browser:
            codes.append((await browser.sign_in(f"name {number}", "wrong wrong wrong")).status_code)
            await browser.sign_in("eve")
    assert codes == [422, 422, 422, 429]


# Sessions


async def test_the_cookie_is_for_the_server_alone(house: House) -> None:
    await house.person("ann")
    async with house.browser() as browser:
        cookie = (await browser.sign_in("ann")).headers["Set-Cookie"]
    assert cookie.startswith("pressroom_session=")
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "Secure" not in cookie
    assert "ann" not in cookie


async def test_served_by_tls_it_is_bound_to_the_host_and_never_sent_in_the_clear(house: House) -> None:
    await house.person("ann")
    async with house.browser("https://localhost:8400") as browser:
        form = {"csrf_token": await browser.token("/login"), "name": "ann", "password": PASSWORD}
        done = await browser.client.post("/login", data=form, headers={"Origin": "https://localhost:8400"})
        cookie = done.headers["Set-Cookie"]
        assert cookie.startswith("__Host-pressroom_session=")
        assert "Secure" in cookie
        assert "Domain" not in cookie
        assert done.headers["Strict-Transport-Security"].startswith("max-age=")
        assert (await browser.get("/account")).status_code == 200
    async with house.browser() as clear:
        assert "Strict-Transport-Security" not in (await clear.get("/login")).headers


async def test_a_forged_cookie_is_nobodys(house: House) -> None:
    async with house.as_("ann") as browser:
        value = browser.session or ""
        body, _, mark = value.rpartition(".")
        for forged in (body, f"{body}.{mark[:-4]}AAAA", f"x{value}", "a.b", "ü", ""):
            async with house.browser() as other:
                cookie = [(b"Cookie", f"pressroom_session={forged}".encode())]
                assert (await other.client.get("/api/v1/me", headers=cookie)).status_code == 401, forged


async def test_a_session_ends_after_hours_of_nothing_and_lives_on_while_something_happens(
    house: House, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": time.time()}
    monkeypatch.setattr(sessions.time, "time", lambda: clock["now"])
    idle = settings.console_session_hours * 3600
    async with house.as_("ann") as browser:
        clock["now"] += idle - 10
        assert (await browser.get("/account")).status_code == 200  # a person does something
        clock["now"] += idle - 10
        for _ in range(3):  # a page that looks by itself is nobody doing anything
            assert (await browser.get("/account", headers={"HX-Request": "true"})).status_code == 200
        clock["now"] += 20
        assert (await browser.get("/account")).status_code == 303
        assert (await browser.get("/api/v1/me")).status_code == 401


async def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(house: House) -> None:
    async with house.as_("ann") as browser:
        kept = browser.session
        async with house.browser(Cookie=f"pressroom_session={kept}") as thief:
            assert (await thief.get("/api/v1/me")).status_code == 200
            assert (await browser.post("/logout")).headers["Location"] == "/login"
            assert (await thief.get("/api/v1/me")).status_code == 401
        assert (await browser.get("/account")).status_code == 303
        assert "You are signed out." in (await browser.get("/login")).text
        assert "You are signed out." not in (await browser.get("/login")).text


async def test_signing_out_everywhere_ends_every_session_and_no_other_persons(house: House) -> None:
    await house.person("ann")
    async with house.as_("bob") as bob, house.browser() as one, house.browser() as other:
        await one.sign_in("ann")
        await other.sign_in("ann")
        await one.post("/account/log-out-everywhere")
        assert (await one.get("/api/v1/me")).status_code == 401
        assert (await other.get("/api/v1/me")).status_code == 401
        assert (await bob.get("/api/v1/me")).status_code == 200


async def test_a_new_password_keeps_this_session_ends_the_others_and_asks_for_the_old_one(house: House) -> None:
    await house.person("ann")
    async with house.browser() as one, house.browser() as other:
        await one.sign_in("ann")
        await other.sign_in("ann")
        change = {"password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
        wrong = await one.post("/account/password", old_password="not this one", **change)
        assert wrong.status_code == 422
        assert 'id="error-old_password"' in wrong.text
        assert (await other.get("/api/v1/me")).status_code == 200
        assert (await one.post("/account/password", old_password=PASSWORD, **change)).status_code == 303
        assert "Your password is changed." in (await one.get("/account")).text
        assert (await other.get("/api/v1/me")).status_code == 401
        assert (await other.sign_in("ann")).status_code == 422
        assert (await other.sign_in("ann", NEW_PASSWORD)).status_code == 303


async def test_a_stolen_session_is_no_way_to_guess_the_password(house: House) -> None:
    async with house.as_("ann") as browser:
        change = {"old_password": "not this one", "password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
        codes = [(await browser.post("/account/password", **change)).status_code for _ in range(ACCOUNT.free + 1)]
    assert codes == [422] * ACCOUNT.free + [429]


async def test_a_rotation_of_keys_signs_nobody_out(house: House, settings: Settings) -> None:
    async with house.as_("ann") as browser:
        old = settings.encryption_keys
        assert old is not None
        both = SecretStr(f"{vault.new_key()},{old.get_secret_value()}")
        for keys, status in ((both, 200), (SecretStr(vault.new_key()), 401)):
            app = create_app(settings.model_copy(update={"encryption_keys": keys}))
            rotated = House(app, house.database).browser(Cookie=f"pressroom_session={browser.session}")
            async with app.router.lifespan_context(app), rotated as other:
                assert (await other.get("/api/v1/me")).status_code == status


# Changes come from our own pages


async def test_a_form_without_its_token_or_with_anothers_changes_nothing(house: House) -> None:
    async with house.as_("ann") as browser, house.as_("bob") as other:
        stolen = await other.token()
        for token in ("", "x", stolen, "ü"):
            form = {"csrf_token": token, "token_name": "mine"}
            answer = await browser.client.post("/account/tokens", data=form, headers={"Origin": HOST})
            assert answer.status_code == 403, token
        answer = await browser.client.post("/account/tokens", data={"token_name": "mine"})
        assert answer.status_code == 403
        assert (await browser.get("/api/v1/tokens")).json() == {"tokens": []}


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8400"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": HOST},
    ],
)
async def test_a_request_from_another_site_changes_nothing_even_with_the_token(
    house: House, sent: dict[str, str]
) -> None:
    async with house.as_("ann") as browser:
        form = {"csrf_token": await browser.token(), "token_name": "mine"}
        assert (await browser.client.post("/account/tokens", data=form, headers=sent)).status_code == 403
        assert (await browser.client.post("/account/tokens", data=form, headers={"Origin": HOST})).status_code == 201


async def test_nobody_can_be_signed_in_by_another_site(house: House) -> None:
    await house.person("ann")
    async with house.browser() as browser:
        form = {"name": "ann", "password": PASSWORD}
        assert (await browser.client.post("/login", data=form)).status_code == 403
        await browser.get("/login")
        async with house.browser() as attacker:
            form["csrf_token"] = await attacker.token("/login")
        assert (await browser.client.post("/login", data=form, headers={"Origin": HOST})).status_code == 403
        assert browser.session is None


async def test_the_api_takes_a_session_only_with_the_header_and_a_token_without(house: House) -> None:
    body = {"name": "mine", "scopes": ["read"]}
    async with house.as_("ann", "operator") as browser:
        assert (await browser.client.post("/api/v1/tokens", json=body)).status_code == 403
        in_form = body | {"csrf_token": await browser.token()}
        assert (await browser.client.post("/api/v1/tokens", json=in_form)).status_code == 403
        headers = {"X-CSRF-Token": await browser.token(), "Origin": HOST}
        made = await browser.client.post("/api/v1/tokens", json=body, headers=headers)
        assert made.status_code == 201
    person = await members.find(house.database, "ann")
    async with house.browser() as program:
        bearer = await house.bearer(person, "write")
        assert (await program.client.post("/api/v1/tokens", json=body, headers=bearer)).status_code == 201


async def test_every_change_of_every_route_is_refused_without_a_token(house: House) -> None:
    """Whatever is added: a router that forgets the check fails here."""
    unsafe = [
        (method, re.sub(r"\{[^}]+\}", "0190a0b0-1111-7222-8333-444455556666", prefix + route.path))
        for prefix, modules in (("/api/v1", API), ("", PAGES))
        for module in modules
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    ]
    assert len(unsafe) > 10
    async with house.as_("ann", "admin") as browser, house.browser() as nobody:
        for method, path in unsafe:
            refused = await browser.client.request(method, path, json={})
            assert refused.status_code in (401, 403, 422), (method, path, refused.status_code)
            anonymous = await nobody.client.request(method, path, json={})
            assert anonymous.status_code in (303, 401, 403, 422), (method, path, anonymous.status_code)
            assert anonymous.headers.get("Location", "/login") == "/login"


# Headers, hosts, sizes


@pytest.mark.parametrize(
    "path",
    ["/login", "/nothing", "/api/v1/me", "/api/v1/nothing", "/healthz", "/static/style.css", "/docs", "/openapi.json"],
)
async def test_every_answer_keeps_the_browser_in_line(house: House, path: str) -> None:
    async with house.browser() as browser:
        answer = await browser.get(path)
    for name, value in headers.HEADERS.items():
        assert answer.headers[name] == value
    assert ("no-store" in answer.headers["Cache-Control"]) == (not path.startswith("/static/"))
    assert "server" not in answer.headers


async def test_an_unexpected_error_keeps_them_too_and_says_nothing(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house.browser() as browser:
        answer = await browser.get("/api/v1/fails/unexpected")
    assert answer.status_code == 500
    assert answer.headers["Content-Security-Policy"] == headers.POLICY
    assert "swordfish" not in answer.text
    assert answer.json()["detail"] == "Something went wrong here; the log says what"
    logged = capsys.readouterr().out
    assert "swordfish" in logged
    assert "/fails/{how}" in logged


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8400", 200),
        ("localhost", 200),
        ("[::1]:8400", 200),
        ("LOCALHOST:8400", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("", 400),
        ("[", 400),
    ],
)
async def test_a_name_that_is_not_ours_is_not_answered(house: House, host: str, status: int) -> None:
    async with house.browser() as browser:
        assert (await browser.get("/login", headers={"Host": host})).status_code == status


async def test_a_body_has_a_bound(house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    async with house.browser() as browser:
        for page in ("/login", "/api/v1/tokens"):
            kind = {"Content-Type": "application/x-www-form-urlencoded" if page == "/login" else "application/json"}
            answer = await browser.client.post(page, content=endless(), headers=kind)
            assert answer.status_code == 413, page


async def test_what_people_write_is_text_wherever_it_is_shown(house: House) -> None:
    hostile = """<script>alert(1)</script>"'&{{7*7}}%s%(x)s"""
    async with house.as_("boss", "admin") as browser:
        made = await browser.post("/people", "/people", name=hostile, role="viewer")
        assert made.status_code == 201
        page = made.text + (await browser.get("/people")).text
        wrong = await browser.post("/people", "/people", name=hostile, role="viewer")
        assert wrong.status_code == 422
        token = await browser.post("/account/tokens", token_name=hostile)
        missing = await browser.get("/people/" + hostile.replace("/", ""))
        for said in (page, wrong.text, token.text, missing.text):
            assert "<script>alert" not in said
            assert "49%s" not in said
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;{{7*7}}%s%(x)s" in page


async def test_pages_speak_the_browsers_language(house: House) -> None:
    async with house.browser(**{"Accept-Language": "de-CH,de;q=0.9"}) as browser:
        page = await browser.get("/login")
        assert '<html lang="de">' in page.text
        assert page.headers["Content-Language"] == "de"
        assert "Anmelden" in page.text
        wrong = await browser.sign_in("ann", "wrong wrong wrong")
        assert "Der Name oder das Passwort ist falsch" in wrong.text
        assert "Diese Seite gibt es nicht" in (await browser.get("/nothing")).text


# Problem documents


async def problem(house: House, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    person = await house.person("boss", "admin")
    async with house.browser() as browser:
        bearer = await house.bearer(person, "admin")
        answer = await browser.client.request(method, path, headers=bearer | more.pop("headers", {}), **more)
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"].startswith("urn:pressroom:problem:")
    assert document["title"]
    return answer.status_code, document


async def test_what_is_not_there_is_a_problem(house: House) -> None:
    status, document = await problem(house, "GET", "/api/v1/nothing")
    assert (status, document["type"], document["title"]) == (404, "urn:pressroom:problem:not-found", "Not Found")


async def test_a_wrong_method_is_a_problem(house: House) -> None:
    status, _ = await problem(house, "DELETE", "/api/v1/users")
    assert status == 405


async def test_each_wrong_value_has_its_pointer(house: House) -> None:
    wrong = {"name": "", "scopes": ["read", "secret-8d1f"], "days": 0, "more": 1}
    status, document = await problem(house, "POST", "/api/v1/tokens", json=wrong)
    assert status == 422
    assert {error["pointer"] for error in document["errors"]} == {"#/name", "#/scopes/1", "#/days", "#/more"}
    assert "secret-8d1f" not in str(document)


async def test_what_is_no_json_and_what_is_a_wrong_parameter(house: House) -> None:
    status, document = await problem(
        house, "POST", "/api/v1/tokens", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (status, document["errors"][0]["pointer"]) == (422, "#")
    async with house.as_("other", "admin") as browser:
        answer = (await browser.get("/api/v1/audit?limit=0")).json()
        assert answer["errors"][0]["parameter"] == "limit"


@pytest.mark.parametrize(
    ("how", "status", "more"),
    [
        ("missing", 404, {"detail": "There is no process “x”"}),
        ("field", 422, {"errors": [{"detail": "The tab must be a number", "pointer": "#/tab"}]}),
        ("transient", 424, {"detail": "The site is away"}),
        ("database", 503, {"detail": "The database does not answer; try again"}),
    ],
)
async def test_our_errors_are_problems(house: House, how: str, status: int, more: dict[str, Any]) -> None:
    async with house.browser() as browser:
        answer = await browser.get(f"/api/v1/fails/{how}")
    assert answer.status_code == status
    assert answer.json().items() >= more.items()
    assert answer.headers.get("Retry-After") == {"transient": "3", "database": "5"}.get(how)


async def test_nobody_is_told_to_sign_in_in_the_way_of_who_asks(house: House) -> None:
    async with house.browser() as browser:
        api = await browser.get("/api/v1/me")
        assert (api.status_code, api.headers["WWW-Authenticate"]) == (401, "Bearer")
        page = await browser.get("/people")
        assert page.headers["Location"] == "/login?next=%2Fpeople"
        part = await browser.get("/people", headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/login")


async def test_an_error_of_a_page_is_a_page_and_of_a_part_a_line(house: House) -> None:
    async with house.as_("ann") as browser:
        page = await browser.get("/people")
        assert page.status_code == 403
        assert "<h1>Forbidden</h1>" in page.text
        part = await browser.get("/people", headers={"HX-Request": "true"})
        assert part.status_code == 403
        assert part.text.startswith('<p class="flash error"')


# API tokens


async def test_a_token_is_shown_once_and_kept_as_a_hash(house: House) -> None:
    async with house.as_("ann", "operator") as browser:
        page = await browser.post("/account/tokens", token_name="program", scope="write", days="30")
        shown = re.search(r"prs_[\w-]{40,}", page.text)
        assert shown is not None
        assert shown[0] not in (await browser.get("/account")).text
        assert "program" in (await browser.get("/account")).text
    async with house.browser() as program:
        me = await program.get("/api/v1/me", headers={"Authorization": f"Bearer {shown[0]}"})
        assert me.json()["scopes"] == ["read", "write"]
    async with house.database.session() as session:
        dump = str((await session.execute(text("SELECT * FROM api_tokens"))).all())
    assert shown[0] not in dump
    assert shown[0] not in audit_text(await logged(house))
    assert "token.make" in audit_text(await logged(house))


async def test_a_token_may_what_its_scope_and_its_owner_may(house: House) -> None:
    boss = await house.person("boss", "admin")
    await house.person("second", "admin")
    async with house.browser() as program:
        for scope, role, users in (("read", "viewer", 403), ("write", "operator", 403), ("admin", "admin", 200)):
            bearer = await house.bearer(boss, scope)
            assert (await program.get("/api/v1/me", headers=bearer)).json()["role"] == role
            assert (await program.get("/api/v1/users", headers=bearer)).status_code == users
        await members.change(house.database, SYSTEM, boss.id, role="viewer")
        assert (await program.get("/api/v1/users", headers=bearer)).status_code == 403
        await members.change(house.database, SYSTEM, boss.id, is_active=False)
        assert (await program.get("/api/v1/me", headers=bearer)).status_code == 401


async def test_nobody_makes_a_token_that_may_more_than_they(house: House) -> None:
    ann = await house.person("ann", "operator")
    async with house.browser() as program:
        read, write = await house.bearer(ann, "read"), await house.bearer(ann, "write")
        body = {"name": "more", "scopes": ["admin"]}
        assert (await program.client.post("/api/v1/tokens", json=body, headers=write)).status_code == 422
        assert (await program.client.post("/api/v1/tokens", json=body, headers=read)).status_code == 403
        body = {"name": "same", "scopes": ["read"]}
        assert (await program.client.post("/api/v1/tokens", json=body, headers=read)).status_code == 403
    async with house.as_("eve", "viewer") as viewer:
        assert (await viewer.post("/account/tokens", token_name="x", scope="write")).status_code == 422
        assert (await viewer.post("/account/tokens", token_name="x", scope="read")).status_code == 201


async def test_a_token_ends_by_revoking_and_by_time(house: House) -> None:
    async with house.as_("ann", "operator") as browser, house.browser() as program:
        person = await members.find(house.database, "ann")
        revoked, expired = await house.bearer(person, "read"), await house.bearer(person, "read")
        ids = [token["id"] for token in (await browser.get("/api/v1/tokens")).json()["tokens"]]
        assert (await program.get("/api/v1/me", headers=revoked)).status_code == 200
        assert (await browser.post(f"/account/tokens/{ids[1]}/revoke")).status_code == 303
        assert (await program.get("/api/v1/me", headers=revoked)).status_code == 401
        async with house.database.session() as session:
            await session.execute(text("UPDATE api_tokens SET expires_at = now()"))
        assert (await program.get("/api/v1/me", headers=expired)).status_code == 401
        async with house.as_("bob", "operator") as bob:
            assert (await bob.post(f"/account/tokens/{ids[0]}/revoke")).status_code == 404


@pytest.mark.parametrize(
    "sent", ["Bearer", "Bearer ", "Bearer x", "bearer prs_", "Bearer " + "x" * 5000, "Bearer \xff"]
)
async def test_a_token_that_is_none_is_not_overlooked_for_a_session(house: House, sent: str) -> None:
    async with house.as_("ann") as browser:
        answer = await browser.client.get("/api/v1/me", headers={"Authorization": sent.encode("latin-1")})  # type: ignore[dict-item]
        assert answer.status_code == 401


# People


async def test_an_admin_invites_and_the_invited_gets_in_once(house: House) -> None:
    async with house.as_("boss", "admin") as boss, house.browser() as ann:
        page = await boss.post("/people", "/people", name="ann", role="operator")
        path = re.search(r"/setup/[\w-]+", page.text)
        assert path is not None
        assert path[0] not in (await boss.get("/people")).text
        assert "Welcome, ann" in (await ann.get(path[0])).text
        done = await ann.post(path[0], path[0], name="ignored", password=PASSWORD, repeated=PASSWORD)
        assert done.status_code == 303
        assert (await ann.get("/api/v1/me")).json()["name"] == "ann"
        assert (await ann.get("/people")).status_code == 403
        again = await boss.post("/people", "/people", name="ann", role="admin")
        assert 'id="error-name"' in again.text
        said = audit_text(await logged(house))
        assert "user.invite" in said
        assert "user.accept_invitation" in said
        assert path[0].removeprefix("/setup/") not in said


async def test_a_reset_link_ends_sessions_when_it_is_used_and_not_before(house: House) -> None:
    async with house.as_("ann") as ann:
        made = await members.new_link(house.database, SYSTEM, (await members.find(house.database, "ann")).id)
        assert (await ann.get("/api/v1/me")).status_code == 200
        async with house.browser() as anew:
            form = {"password": NEW_PASSWORD, "repeated": NEW_PASSWORD}
            assert (await anew.post(made.path, made.path, **form)).status_code == 303
        assert (await ann.get("/api/v1/me")).status_code == 401


async def test_who_is_deactivated_is_out_at_once_and_their_links_are_dead(house: House) -> None:
    async with house.as_("boss", "admin") as boss, house.as_("ann", "operator") as ann:
        person = await members.find(house.database, "ann")
        link = await members.new_link(house.database, SYSTEM, person.id)
        assert (await boss.post(f"/people/{person.id}/deactivate", "/people")).status_code == 303
        assert "is deactivated" in (await boss.get("/people")).text
        assert (await ann.get("/api/v1/me")).status_code == 401
        async with house.browser() as late:
            assert (await late.get(link.path)).status_code == 404
            assert (await late.sign_in("ann")).status_code == 422
            await boss.post(f"/people/{person.id}/activate", "/people")
            assert (await ann.get("/api/v1/me")).status_code == 401  # the old session stays ended
            assert (await late.sign_in("ann")).status_code == 303


@pytest.mark.parametrize("how", [{"role": "viewer"}, {"is_active": False}])
async def test_of_two_last_admins_who_step_down_at_the_same_time_one_stays(house: House, how: dict[str, Any]) -> None:
    people = [await house.person(name, "admin") for name in ("one", "two")]
    await members.invite(house.database, SYSTEM, "never came", "admin")  # nobody who could sign in
    done = await asyncio.gather(
        *(members.change(house.database, SYSTEM, person.id, **how) for person in people), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "Person"]
    async with house.database.session() as session:
        assert len(await accounts.admins(session)) == 1


async def test_the_page_says_that_the_last_admin_stays(house: House) -> None:
    async with house.as_("boss", "admin") as boss:
        person = await members.find(house.database, "boss")
        for path, fields in (
            (f"/people/{person.id}/role", {"role": "viewer"}),
            (f"/people/{person.id}/deactivate", {}),
        ):
            assert (await boss.post(path, "/people", **fields)).status_code == 303
            assert "is the last active administrator" in (await boss.get("/people")).text


async def test_the_api_does_what_the_page_does(house: House) -> None:
    boss = await house.person("boss", "admin")
    async with house.browser() as browser:
        api, bearer = browser.client, await house.bearer(boss, "admin")
        made = (await api.post("/api/v1/users", json={"name": "ann", "role": "viewer"}, headers=bearer)).json()
        user = f"/api/v1/users/{made['user']['id']}"
        assert made["path"].startswith("/setup/")
        changed = await api.patch(user, json={"role": "operator", "is_active": False}, headers=bearer)
        assert (changed.json()["role"], changed.json()["is_active"]) == ("operator", False)
        assert (await api.post(f"{user}/link", headers=bearer)).status_code == 409
        conflict = await api.patch(f"/api/v1/users/{boss.id}", json={"role": "viewer"}, headers=bearer)
        assert conflict.status_code == 409
        names = [each["name"] for each in (await api.get("/api/v1/users", headers=bearer)).json()["users"]]
        assert names == ["ann", "boss"]


# The audit log


async def test_the_log_is_read_page_by_page_newest_first(house: House) -> None:
    boss = await house.person("boss", "admin")
    for number in range(5):
        await members.invite(house.database, Doer(boss.id, "session", "192.0.2.1"), f"user {number}", "viewer")
    async with house.browser() as browser:
        bearer = await house.bearer(boss, "admin")
        seen: list[dict[str, Any]] = []
        query = f"/api/v1/audit?limit=2&actor_user_id={boss.id}&subject_kind=user"
        page = (await browser.get(query, headers=bearer)).json()
        while True:
            seen += page["items"]
            if page["next"] is None:
                break
            page = (await browser.get(f"{query}&after={page['next']}", headers=bearer)).json()
        assert [entry["details"].get("name") for entry in seen[:5]] == [f"user {number}" for number in (4, 3, 2, 1, 0)]
        assert len({entry["id"] for entry in seen}) == len(seen)
        assert seen[0]["actor_name"] == "boss"
        assert seen[0]["address"] == "192.0.2.1"
        hostile = await browser.get("/api/v1/audit?subject_id=%00&subject_kind=%ed%a0%80", headers=bearer)
        assert hostile.json()["items"] == []


async def test_the_log_takes_whatever_json_and_a_database_do_not(house: House) -> None:
    async with house.database.session() as session:
        details = {"a": "\x00\ud800", "b": datetime.now(UTC), "c": house, "\\u0000": "\\u0000"}
        await audit(session, None, "x" * 10, "kind", "y" * 500, details, via="test")
    assert (await logged(house))[-1].details["c"].startswith("House(")


# Health, documentation, the process itself


async def test_probes_learn_whether_and_people_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    async with house.as_("ann") as browser, house.browser() as nobody:
        assert (await nobody.get("/healthz")).text == "ok\n"
        probe = await nobody.get("/health")
        assert probe.status_code == 503
        assert {"name": "database", "ok": True} in probe.json()["checks"]
        assert (await nobody.get("/api/v1/health")).status_code == 401
        assert (await browser.get("/api/v1/health")).json()["checks"][0]["detail"] == "answers"


async def test_the_documentation_is_all_ours(house: House) -> None:
    async with house.browser() as browser:
        page = (await browser.get("/docs")).text
        assert "/api/v1/users/{user_id}" in page
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
        described = (await browser.get("/openapi.json")).json()
        assert not [path for path in described["paths"] if not path.startswith("/api/v1/")]


def test_a_console_that_others_could_reach_in_the_clear_does_not_start(settings: Settings) -> None:
    del settings  # they are in the environment
    environment = os.environ | {"PRESSROOM_CONSOLE_HOST": "0.0.0.0", "PRESSROOM_CONSOLE_PORT": "1"}  # noqa: S104
    command = [sys.executable, "-m", "console"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("pressroom: PRESSROOM_CONSOLE_HOST is 0.0.0.0")
    assert len(ended.stderr.splitlines()) == 1


# The command line


@dataclass
class Cli:
    async def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        ended = await asyncio.to_thread(CliRunner().invoke, cli_app, list(arguments), env=env)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    async def json(self, *arguments: str) -> Any:
        code, out, err = await self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


async def test_people_are_invited_from_the_command_line(house: House) -> None:
    cli = Cli()
    made = await cli.json("user", "invite", "ann", "--role", "admin")
    assert made["address"].startswith("http://127.0.0.1:8400/setup/")
    path = made["address"].removeprefix(HOST)
    async with house.browser() as browser:
        assert (await browser.post(path, path, password=PASSWORD, repeated=PASSWORD)).status_code == 303
    found = {user["name"]: user for user in (await cli.json("user", "list"))["users"]}
    assert found["ann"]["role"] == "admin"
    assert found["operator"]["role"] is None
    assert (await cli.json("user", "invite", "operator"))["user"]["role"] == "viewer"  # until now without an account
    assert (await cli.json("user", "role", "operator", "operator"))["role"] == "operator"
    assert (await cli.json("user", "deactivate", found["operator"]["id"]))["is_active"] is False
    assert (await cli.json("user", "activate", "operator"))["is_active"] is True
    assert "/setup/" in (await cli.json("user", "reset-link", "ann"))["address"]
    for command in (("role", "ann", "viewer"), ("deactivate", "ann")):
        code, out, err = await cli("user", *command)
        assert (code, out) == (2, "")
        assert "last active administrator" in err
    for command in (("role", "ann", "king"), ("role", "nobody", "viewer"), ("invite", "a\u202eb"), ("invite", "ann")):
        code, out, err = await cli("user", *command)
        assert (code, out) == (2, ""), command
        assert err.startswith("pressroom: ")
    code, out, _ = await cli("user", "list")
    assert "ann" in out
    assert "invited" in out


async def test_the_command_line_goes_on_as_the_first_admin_under_their_new_name(house: House) -> None:
    path = await first_link(house)
    async with house.browser() as browser:
        await browser.post(path, path, name="Ann", password=PASSWORD, repeated=PASSWORD)
    names = [user["name"] for user in (await Cli().json("user", "list"))["users"]]
    assert names == ["Ann"]
