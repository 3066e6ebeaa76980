"""One client for every model that speaks OpenAI's protocol."""

import asyncio
import time
import unicodedata
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import httpx

from lib import http
from lib.errors import Permanent, Refused, Transient
from lib.http import Limits

if TYPE_CHECKING:
    import openai


TokensParameter = Literal["max_tokens", "max_completion_tokens"]

# A token of German prose is three to four characters; where nobody counted, rather too many than too few.
CHARS_PER_TOKEN = 3
# A server may claim anything; what it claims goes into a 32-bit column.
MOST_TOKENS = 100_000_000
# HTTP 400 of OpenAI, 422 of servers that check a request against a schema
_WRONG_REQUEST = (400, 422)


@dataclass(frozen=True)
class Dialect:
    """How a server wants to be asked: by which parameter an answer is bounded, and whether it takes a temperature."""

    tokens: TokensParameter = "max_tokens"
    temperature: bool = True


@dataclass(frozen=True)
class Completion:
    """What a model answered. `finish_reason` is the wire's own word.

    `estimated`: the server did not say how many tokens it took, and they are counted from the texts' lengths.
    """

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    finish_reason: str
    milliseconds: int
    estimated: bool = False

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Unreachable(Transient):
    """No connection, or no answer in time."""


class NoText(Transient):
    """An answer without a text, which cost its tokens all the same."""

    def __init__(self, message: str, completion: Completion) -> None:
        super().__init__(message)
        self.completion = completion


def load() -> None:
    """Load the client's modules, a second's worth, before somebody waits for them."""
    import_module("openai.resources.chat.completions")


class LLM:
    """A model behind `base_url` (ending before `/chat/completions`). `seconds` bounds one whole call."""

    def __init__(
        self, name: str, base_url: str, model: str, api_key: str, limits: Limits, dialect: Dialect | None = None
    ) -> None:
        import openai  # noqa: PLC0415 - half a second that only generation needs

        self.name = name
        self._model = model
        self._dialect = dialect or Dialect()
        self._seconds = limits.total_seconds
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=httpx.Timeout(limits.seconds),
            max_retries=0,
            http_client=http.client(limits),
        )
        # Loads a second's worth of modules: here, where the caller chose a thread for it, not at the first call.
        self._completions = self._client.chat.completions

    async def aclose(self) -> None:
        await self._client.close()

    async def complete(self, system: str, user: str, *, max_tokens: int, temperature: float | None) -> Completion:
        """Ask once. Raises Transient, Permanent, or Refused for a key or model that is not accepted.

        A server that names a parameter which it does not take is asked once more without it, and remembered.
        """
        import openai  # noqa: PLC0415

        began = time.perf_counter()
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._create(messages, max_tokens, temperature)
        except TimeoutError as error:
            raise Unreachable(f"{self.name}: no answer within {self._seconds:g} s") from error
        except openai.OpenAIError as error:
            raise self._translated(error) from error
        except ValueError as error:
            raise Transient(f"{self.name}: the answer is not JSON") from error
        return self._read(answer, system + user, time.perf_counter() - began)

    async def _create(self, messages: Any, max_tokens: int, temperature: float | None) -> Any:
        import openai  # noqa: PLC0415

        tried = set()
        while True:
            dialect = self._dialect
            tried.add(dialect)
            bounded: dict[str, Any] = {dialect.tokens: max_tokens}
            if temperature is not None and dialect.temperature:
                bounded["temperature"] = temperature
            try:
                return await self._completions.create(model=self._model, messages=messages, **bounded)
            except openai.APIStatusError as error:
                other = _other_dialect(error, dialect, bounded)
                if other is None or other in tried:
                    raise
                self._dialect = other

    def _read(self, answer: "openai.types.chat.ChatCompletion", asked: str, seconds: float) -> Completion:
        # A broken server answers anything: text, null, a list without entries.
        try:
            choice = answer.choices[0]
            text, reason = choice.message.content, choice.finish_reason
            used = answer.usage
            counted = (_count(used.prompt_tokens), _count(used.completion_tokens)) if used else (0, 0)
            model = _plain(answer.model, 200)
        except (AttributeError, IndexError, TypeError) as error:
            raise Transient(f"{self.name}: the answer is not a chat completion") from error
        said = text if isinstance(text, str) else ""
        estimated = not any(counted)
        taken = (_estimate(asked), _estimate(said)) if estimated else counted
        completion = Completion(said, model, *taken, _plain(reason, 40), round(seconds * 1000), estimated)
        if not said.strip():
            raise NoText(f"{self.name}: the answer is empty (finish_reason={completion.finish_reason})", completion)
        return completion

    def _translated(self, error: "openai.OpenAIError") -> Transient | Permanent | Refused:
        import openai  # noqa: PLC0415

        what = f"{self.name} ({self._model})"
        if isinstance(error, openai.APIStatusError):
            detail = _detail(error)
            status = error.status_code
            if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                return Refused(f"{what} refuses its key: HTTP {status}{detail}")
            if status == httpx.codes.NOT_FOUND:
                return Refused(f"{what} is not there: HTTP 404{detail}; check base URL and model")
            if status == http.TOO_MANY or status >= http.SERVER_ERRORS or status == httpx.codes.REQUEST_TIMEOUT:
                return Transient(f"{what}: HTTP {status}{detail}", http.retry_after(error.response))
            # A thinking model that was given no room to think
            empty = "output limit was reached" in detail
            return (Transient if empty else Permanent)(
                f"{what}: {'the answer is empty: ' * empty}HTTP {status}{detail}"
            )
        cause = error.__cause__
        if isinstance(cause, Permanent | Refused):  # from the guarded transport: a private address, an oversized body
            return cause
        return Unreachable(f"{what} cannot be reached: {str(cause or '') or type(cause or error).__name__}")


def _other_dialect(error: "openai.APIStatusError", dialect: Dialect, sent: dict[str, Any]) -> Dialect | None:
    """How the server wants to be asked instead, if it says that it does not take a parameter which we sent."""
    body = str(error.body).lower()
    if error.status_code not in _WRONG_REQUEST or not any(
        words in body for words in ("unsupported", "not supported", "does not support", "extra_forbidden")
    ):
        return None
    named = error.body.get("param") if isinstance(error.body, dict) else None
    wrong = [name for name in sent if name == named] or [name for name in sent if f"'{name}'" in body]
    match wrong:
        case ["temperature", *_]:
            return replace(dialect, temperature=False)
        case ["max_tokens", *_]:
            return replace(dialect, tokens="max_completion_tokens")
        case ["max_completion_tokens", *_]:
            return replace(dialect, tokens="max_tokens")
    return None


def _count(tokens: Any) -> int:
    return min(max(int(tokens or 0), 0), MOST_TOKENS)


def _estimate(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _plain(word: Any, longest: int) -> str:
    """A word of the server's, which may be anything, as one that can be stored and shown."""
    return "".join(char for char in str(word) if unicodedata.category(char)[0] != "C")[:longest]


def _detail(error: "openai.APIStatusError") -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f" ({str(message)[:200]})" if message else ""
