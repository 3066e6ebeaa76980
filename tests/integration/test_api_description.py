"""The API's own description, and the API held against it: an administrator's program that sends whatever fits, or not.

Every operation is called with generated requests, those that the description allows and those that it does not; each
answer must be one that the description names, and none may be a defect of ours.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from console.app import create_app
from console.desk import comparisons, failures, runs
from console.desk.comparisons import NewComparison
from console.desk.visit import Visit
from lib.database import Database
from lib.monitoring import guard
from lib.people import members, own, sign_in
from lib.people.members import Doer
from lib.settings import Settings
from tests.integration import feeding
from tests.world import World

SYSTEM = Doer(None, "test")
EACH = 3  # requests of each kind to each operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class Served:
    """The console on a loopback port, a token of an administrator, and ids of what there is."""

    url: str
    bearer: dict[str, str]
    ids: dict[str, str]
    document: dict[str, Any]


async def furnish(settings: Settings, url: str) -> tuple[dict[str, str], dict[str, str]]:
    """The token and the ids."""
    async with Database(url, pool_size=2) as database:
        made = await members.invite(database, SYSTEM, "operator", "admin")
        await sign_in.use_link(database, made.path.removeprefix("/setup/"), "three blind mice in a row", None, "::1")
        person = await members.find(database, "operator")
        most = frozenset(("read", "write", "admin"))
        token = await own.make_token(database, SYSTEM, person.id, "fuzz", ("admin",), 1, most)
        world = World(settings, database)
        login, provider, template = await world.login("bot"), await world.provider("model"), await world.template("a")
        parts: dict[str, Any] = {"logins": [login], "templates": [template], "provider": provider}
        process = await world.process("watch", start=False, **parts)
        content = {"comment_content": guard.with_prefix("Ein schöner Text."), "article_content": "Ein Hund."}
        [comment] = await world.comments(process, 1, "generated", **content)
        failed = {"error_message": "The site answered HTTP 503", "failed_from": "discovered"}
        other = await world.process("failing", start=False, logins=[await world.login("b")], **without_logins(parts))
        await world.comments(other, 3, "failed", failed_at=datetime.now(UTC), **failed)
        visit = Visit(settings, database, person.id, sees=None)
        wanted = NewComparison("a", "b", "model", comments=[str(comment)])
        await world.template("b")
        comparison = await comparisons.create(visit, wanted)
        task = feeding.failed(owner_id=person.id, item_id=comment)
        await feeding.write(database, task)
        [group] = (await failures.groups(visit))["failed"]
    ids = {
        "process_id": process,
        "comment_id": comment,
        "login_id": login,
        "provider_id": provider,
        "template_id": template,
        "comparison_id": comparison,
        "group": group["key"],
        "user_id": person.id,
        "record_id": task["id"],
    }
    return {"Authorization": f"Bearer {token.text}"}, {name: str(id_) for name, id_ in ids.items()}


def without_logins(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if name != "logins"}


@pytest.fixture
def served(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    async def started(_name: str, _parameters: dict[str, Any]) -> str:
        return str(uuid4())

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(runs, "start_deployment", started)
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        bearer, ids = asyncio.run(furnish(settings, database_url))
        yield Served(f"http://127.0.0.1:{port}", bearer, ids, app.openapi())
    finally:
        server.should_exit = True
        thread.join(10)


def operations(document: dict[str, Any]) -> list[schemathesis.APIOperation]:
    """What deletes comes last."""
    found = [each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()]
    return sorted(found, key=lambda each: each.method.upper() == "DELETE")


@pytest.mark.timeout(240)
def test_whatever_is_sent_the_answer_is_one_that_the_description_names(served: Served) -> None:
    for number, operation in enumerate(operations(served.document)):
        names = [each.name for each in operation.path_parameters]
        known = {name: served.ids[name] for name in names if name in served.ids}
        for mode in GenerationMode:
            ask(served, operation.as_strategy(generation_mode=mode), mode, number, {})
        if known and len(known) == len(names):
            strategy = operation.as_strategy(path_parameters=known)
            ask(served, strategy, GenerationMode.POSITIVE, number, {"If-Match": "*"})


def ask(served: Served, strategy: Any, mode: GenerationMode, number: int, headers: dict[str, str]) -> None:
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS

    @seed(number)
    @hypothesis_settings(
        max_examples=EACH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def once(case: Case) -> None:
        if isinstance(case.body, dict) and case.body.get("test") is True:
            case.body["test"] = False  # it would call whatever address was made up
        answered = case.call(base_url=served.url, headers=served.bearer | headers)
        case.validate_response(answered, checks=checks)

    once()


# What the description says


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


def test_every_reference_leads_somewhere_and_every_operation_has_a_name(document: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        found: Any = document
        for step in reference.split("/"):
            found = found[step]
    assert '"$defs"' not in json.dumps(document)
    ids = [operation["operationId"] for operation in described(document)]
    assert len(ids) == len(set(ids)) > 50
    tags = {each["name"] for each in document["tags"]}
    assert {operation["operationId"].partition(".")[0] for operation in described(document)} <= tags


def described(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for item in document["paths"].values() for operation in item.values()]


def test_every_error_is_a_problem_document(document: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    for operation in described(document):
        errors = [answer for status, answer in operation["responses"].items() if status[0] not in "23"]
        answers, is_ours = set(operation["responses"]), operation["operationId"].startswith("monitoring.")
        assert {"401", "403", "400" if is_ours else "422", "default"} <= answers, operation["operationId"]
        assert ("422" if is_ours else "400") not in answers, operation["operationId"]
        assert all(answer["content"] == problem for answer in errors), operation["operationId"]
        assert operation["security"][0] == {"token": []}


def test_what_is_secret_is_only_written(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("LoginRequest", "LoginPatch", "ProviderRequest", "ProviderPatch"):
        for member in {"username", "password", "key"} & schemas[name]["properties"].keys():
            assert '"writeOnly": true' in json.dumps(schemas[name]["properties"][member]), (name, member)
    assert not {"username", "password"} & schemas["LoginDocument"]["properties"].keys()
    assert "key" not in schemas["ProviderDocument"]["properties"]


def test_the_plans_address_is_there(document: dict[str, Any]) -> None:
    assert "get" in document["paths"]["/api/v1/monitoring-processes/{process_id}/pipeline-status"]
