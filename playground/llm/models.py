"""What a model is asked and what it says, apart from the wire."""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Turn:
    role: str
    content: str


@dataclass(frozen=True)
class ChatRequest:
    turns: tuple[Turn, ...]
    max_tokens: int | None
    temperature: float | None


@dataclass(frozen=True)
class Completion:
    content: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class RefusedError(Exception):
    """The model does not take this request."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Model(Protocol):
    async def complete(self, request: ChatRequest) -> Completion:
        """Answer, or raise `RefusedError`."""

    def close(self) -> None:
        """Give up what is held."""
