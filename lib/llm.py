"""One client for every model that speaks OpenAI's protocol."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from lib import http
from lib.errors import Permanent, Refused, Transient
from lib.http import Limits

if TYPE_CHECKING:
    import openai


@dataclass(frozen=True)
class Completion:
    """What a model answered. `tokens` counts prompt and answer; `finish_reason` is the wire's own word."""

    text: str
    model: str
    tokens: int
    finish_reason: str
    milliseconds: int


class LLM:
    """A model behind `base_url` (ending before `/chat/completions`). `seconds` bounds one whole call."""

    def __init__(self, name: str, base_url: str, model: str, api_key: str, limits: Limits) -> None:
        import openai  # noqa: PLC0415 - half a second that only generation needs

        self.name = name
        self._model = model
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
        """Ask once. Raises Transient, Permanent, or Refused for a key or model that is not accepted."""
        import openai  # noqa: PLC0415

        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._completions.create(
                    model=self._model,
                    messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                    max_tokens=max_tokens,
                    temperature=openai.omit if temperature is None else temperature,
                )
        except TimeoutError as error:
            raise Transient(f"{self.name}: no answer within {self._seconds:g} s") from error
        except openai.OpenAIError as error:
            raise self._translated(error) from error
        except ValueError as error:
            raise Transient(f"{self.name}: the answer is not JSON") from error
        return self._read(answer, time.perf_counter() - began)

    def _read(self, answer: "openai.types.chat.ChatCompletion", seconds: float) -> Completion:
        # A broken server answers anything: text, null, a list without entries.
        try:
            choice = answer.choices[0]
            text, reason = choice.message.content, choice.finish_reason
            tokens = answer.usage.total_tokens if answer.usage else 0
            model = str(answer.model)
        except (AttributeError, IndexError, TypeError) as error:
            raise Transient(f"{self.name}: the answer is not a chat completion") from error
        if not isinstance(text, str) or not text.strip():
            raise Transient(f"{self.name}: the answer is empty (finish_reason={reason})")
        return Completion(text, model, int(tokens or 0), str(reason), round(seconds * 1000))

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
            return Permanent(f"{what}: HTTP {status}{detail}")
        cause = error.__cause__
        if isinstance(cause, Permanent | Refused):  # from the guarded transport: a private address, an oversized body
            return cause
        return Transient(f"{what} cannot be reached: {str(cause or '') or type(cause or error).__name__}")


def _detail(error: "openai.APIStatusError") -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f" ({str(message)[:200]})" if message else ""
