"""The command line without a database: its help, its start, its exit statuses."""

import json
import subprocess
import sys
import time

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from console.cli.main import app

LONG_RUNNING = {("up",)}


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        here = (*path, name)
        found += commands(command, here) if isinstance(command, TyperGroup) else [here]
    return found


def root() -> TyperGroup:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def test_every_command_explains_itself() -> None:
    for path in commands(root()):
        ended = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
        assert ended.exit_code == 0, path
        assert ended.stderr == ""
        assert "Usage" in ended.stdout


def test_every_command_but_the_one_that_stays_prints_json_on_request() -> None:
    without = {
        path
        for path in commands(root())
        if "--json" not in CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout
    }
    assert without == LONG_RUNNING


def test_no_option_takes_a_secret() -> None:
    options = {
        option
        for path in commands(root())
        for option in CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout.split()
        if option.startswith("--")
    }
    assert not {"--password", "--key", "--api-key", "--secret", "--token"} & options


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    measure = "import console.cli.main, json, sys; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", measure], text=True, timeout=60)))
    assert not {"prefect", "sqlalchemy", "asyncpg", "httpx", "pydantic", "openai"} & loaded
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "console.cli.main", "--help"], check=True, capture_output=True, timeout=60)
    assert time.monotonic() - began < 5  # 0.6 s on a quiet machine


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), ([], 2), (["nothing"], 2), (["run"], 2), (["up", "x"], 2)],
)
def test_wrong_use_ends_with_status_two(arguments: list[str], status: int) -> None:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == status
    assert "Traceback" not in ended.output


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("lib.monitoring.secrets.generate", broken)
    ended = CliRunner().invoke(app, ["keys", "generate"])
    assert isinstance(ended.exception, RuntimeError)


def test_a_prompt_that_is_left_ends_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: object) -> None:
        raise typer.Abort

    monkeypatch.setattr("lib.monitoring.secrets.generate", leave)
    ended = CliRunner().invoke(app, ["keys", "generate"])
    assert (ended.exit_code, ended.stderr) == (1, "pressroom: not done\n")
