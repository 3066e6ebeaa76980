from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from playground.config import Config
from playground.serve import Running, serving
from tests.playground.visitor import Ask, Visitor


@pytest.fixture(scope="module")
def config() -> Config:
    return Config(new_article_every=0)


@pytest.fixture(scope="module")
def served(config: Config) -> Iterator[Running]:
    with serving(config) as running:
        yield running


@pytest.fixture
def control(served: Running) -> Iterator[httpx.Client]:
    """The control endpoint; faults and counts are gone after each test."""
    with httpx.Client(base_url=f"{served.url}/control", timeout=5) as client:
        client.delete("/requests")
        yield client
        client.delete("/faults")


@pytest.fixture
def bot(served: Running) -> Iterator[Visitor]:
    with Visitor(served.url) as visitor:
        visitor.log_in("ki-bot")
        yield visitor


@pytest.fixture
def teacher(served: Running) -> Iterator[Visitor]:
    with Visitor(served.url) as visitor:
        visitor.log_in("lehrerin")
        yield visitor


@pytest.fixture
def stranger(served: Running) -> Iterator[Visitor]:
    with Visitor(served.url) as visitor:
        yield visitor


@pytest.fixture
def fault(control: httpx.Client) -> Ask:
    def ask(**asked: Any) -> dict[str, Any]:
        answer = control.post("/faults", json=asked)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return ask
