"""What must not leave the console and what must not get in: secrets in its log, tokens, texts that nobody types."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from console import __main__ as served
from console.api import health
from deployments import worker
from lib import log
from lib.alerts import relay
from lib.database import Database
from lib.monitoring.health import Health
from lib.settings import Settings
from playground.serve import Running
from tests.integration.pages import ann, house
from tests.integration.program import Program, operator, site, things
from tests.integration.test_api_catalog import KEY, LOGIN, PASSWORD, PROVIDER
from tests.integration.test_console_security import Browser, House
from tests.world import World

__all__ = ["ann", "house", "operator", "site", "things"]
SECRET = "a-secret-8d1f"
ELSEWHERE = "http://127.0.0.1:7"
failing = APIRouter()


@failing.get("/defect")
async def defect() -> None:
    password = SECRET
    raise RuntimeError(f"a password of {len(password)} characters")


@failing.get("/away")
async def away() -> None:
    password = SECRET
    raise ConnectionRefusedError(len(password))


# What is logged


async def test_a_defect_is_logged_without_what_its_variables_hold(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.app.include_router(failing, prefix="/api/v1")
    log.configure()
    async with house.browser() as browser:
        assert (await browser.get("/api/v1/defect", headers={"Authorization": f"Bearer {SECRET}"})).status_code == 500
    said = capsys.readouterr()
    assert "RuntimeError: a password of 13 characters" in said.err
    assert "Traceback" in said.err
    assert SECRET not in said.err + said.out


async def test_a_database_that_is_away_is_one_line(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.app.include_router(failing, prefix="/api/v1")
    log.configure()
    async with house.browser() as browser:
        assert (await browser.get("/api/v1/away")).status_code == 503
    [line] = capsys.readouterr().err.splitlines()
    assert "console.database_away" in line
    assert "ConnectionRefusedError" in line


async def test_an_error_of_the_database_does_not_hold_the_values(database: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with database.session() as session:
            await session.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": SECRET})
    assert SECRET not in str(raised.value)


def test_the_console_writes_its_log_so(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[int] = []
    monkeypatch.setattr(log, "configure", lambda: configured.append(1))
    monkeypatch.setattr("sys.argv", ["console"])
    for part in (served, "create_app"), (served.passwords, "warm_up"), (served.uvicorn, "run"):
        monkeypatch.setattr(*part, lambda *_, **__: None)
    assert served.main() == 0
    assert configured == [1]


def test_the_worker_writes_its_log_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(*_: Any) -> None:
        """At its end already."""

    configured: list[int] = []
    monkeypatch.setattr(log, "configure", lambda: configured.append(1))
    monkeypatch.setattr("sys.argv", ["worker"])
    monkeypatch.setattr(worker, "serve", serve)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit, match="0"):
        worker.main()
    assert configured == [1]


async def test_the_link_of_the_first_admin_says_how_the_console_is_reached(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await served._first_admin(settings.model_copy(update={"console_tls_certificate": tmp_path / "console.pem"}))
    assert re.search(rf"at https://127\.0\.0\.1:{settings.console_port}/setup/", capsys.readouterr().out)


# Who gets in


async def test_a_token_opens_no_page(house: House) -> None:
    person = await house.person("operator", "operator")
    bearer = await house.bearer(person, "read")
    async with house.browser(**bearer) as program:
        for path in ("/account", "/", "/processes/new", "/docs"):
            assert (await program.get(path)).status_code == 403, path
        for path in ("/account/tokens", "/account/password", "/account/log-out-everywhere"):
            form = {"token_name": "more", "scope": "write"}
            answer = await program.client.post(path, data=form, headers=bearer)
            assert answer.status_code == 403, path
        assert (await program.get("/api/v1/me")).status_code == 200
    async with house.database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM api_tokens")) == 1


async def test_the_relay_reads_no_more_than_a_report_takes(house: House) -> None:
    async with house.browser() as nobody:
        answer = await nobody.client.post(relay.PATH, content=b"x" * (relay.MAX_BODY + 1))
        assert answer.status_code == 413
        assert (await nobody.client.post(relay.PATH, content=b"x" * 100)).status_code in (401, 422)


# Secrets stay where they were meant for


async def test_another_address_takes_the_secrets_of_a_login_anew(operator: Program) -> None:
    made = await operator.ok("POST", "/logins", LOGIN)
    path = f"/logins/{made['id']}"
    for given, field in (({}, "password"), ({"username": "x"}, "password"), ({"password": PASSWORD}, "username")):
        problem = await operator.no(422, "PATCH", path, {"base_url": ELSEWHERE} | given, If_Match="*")
        assert problem["errors"][0]["pointer"] == f"#/{field}"
    assert (await operator.ok("GET", path))["base_url"] == LOGIN["base_url"]
    await operator.ok("PATCH", path, {"base_url": LOGIN["base_url"], "name": "same"}, If_Match="*")
    anew = {"base_url": ELSEWHERE, "username": "x", "password": "y"}
    assert (await operator.ok("PATCH", path, anew, If_Match="*"))["base_url"] == ELSEWHERE


async def test_another_server_takes_the_key_of_a_provider_anew(operator: Program) -> None:
    path = f"/providers/{(await operator.ok('POST', '/providers', PROVIDER))['id']}"
    for base_url in (f"{ELSEWHERE}/v1", "https://127.0.0.1:9/v1", "http://localhost:9/v1"):
        problem = await operator.no(422, "PATCH", path, {"base_url": base_url}, If_Match="*")
        assert problem["errors"][0]["pointer"] == "#/key"
    await operator.ok("PATCH", path, {"base_url": "http://127.0.0.1:9/v2"}, If_Match="*")
    moved = {"base_url": f"{ELSEWHERE}/v1", "key": KEY}
    assert (await operator.ok("PATCH", path, moved, If_Match="*"))["base_url"] == f"{ELSEWHERE}/v1"


async def test_a_provider_without_a_key_moves_freely(operator: Program) -> None:
    made = await operator.ok("POST", "/providers", {"name": "here", "preset": "ollama"})
    await operator.ok("PATCH", f"/providers/{made['id']}", {"base_url": f"{ELSEWHERE}/v1"}, If_Match="*")


async def test_the_page_says_it_beside_the_field(ann: Browser, world: World) -> None:
    id_ = await world.login("5a")
    page = (await ann.get(f"/logins/{id_}")).text
    version = re.search(r'name="version" value="([^"]+)"', page)
    assert version is not None
    answer = await ann.post(f"/logins/{id_}", name="5a", base_url=ELSEWHERE, version=version[1])
    assert answer.status_code == 422
    assert 'id="error-password">Another address takes username and password anew<' in answer.text


async def test_a_refused_log_in_does_not_name_the_account(operator: Program, playground: Running) -> None:
    wrong = LOGIN | {"base_url": playground.url, "password": "not-this-one", "test": True}
    detail = (await operator.no(424, "POST", "/logins", wrong))["detail"]
    assert detail.endswith(" does not accept this login's username and password; nothing was saved")
    assert LOGIN["username"] not in detail


# What no text can hold


@pytest.mark.parametrize("path", ["/review", "/failures", "/failures/changes", "/compare/articles", "/processes/new"])
async def test_a_page_takes_no_nul_character_for_a_name(ann: Browser, path: str) -> None:
    for name in ("process", "after", "preset"):
        assert (await ann.get(f"{path}?{name}=%00")).status_code in (200, 404, 422), name


async def test_a_form_takes_no_nul_character_for_a_name(ann: Browser, world: World) -> None:
    await world.process("watch", start=False)
    assert (await ann.post("/failures/%00/retry")).status_code == 422
    assert (await ann.post("/failures/x/retry")).status_code == 422
    assert (await ann.get("/processes/site-choices?logins=%00")).status_code == 200
    parts = {"logins": "\0", "templates": "\0", "provider": "\0", "max_minutes": "60"}
    assert (await ann.post("/processes/new", name="x", **parts)).status_code == 422
    assert (await ann.post("/compare", template_a="\0", template_b="\0", provider="\0")).status_code == 422


# The probe


async def test_the_probe_looks_once_in_a_while(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    async def look(*_: Any) -> Health:
        looks.append(1)
        return Health(())

    monkeypatch.setattr(health, "examine", look)
    async with house.browser() as nobody:
        assert [(await nobody.get("/health")).status_code for _ in range(5)] == [200] * 5
        assert len(looks) == 1
        monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
        house.app.state.last_look = health.LastLook()
        assert [(await nobody.get("/health")).status_code for _ in range(2)] == [200] * 2
    assert len(looks) == 3


# Words for whoever asks


async def test_the_api_names_no_option_of_the_command_line(operator: Program) -> None:
    made = await operator.ok("POST", "/monitoring-processes", {"name": "bare", "post": True})
    assert made["missing"] == ["a login", "a template", "a provider", "a tab, since it posts"]
    problem = await operator.no(422, "POST", f"/monitoring-processes/{made['id']}/start")
    assert "--" not in problem["detail"]
    detail = (await operator.no(424, "POST", "/logins", LOGIN | {"test": True}))["detail"]
    assert detail.endswith("; nothing was saved")
