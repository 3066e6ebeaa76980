"""The OpenAI wire: `/llm/v1/models` and `/llm/v1/chat/completions`, without streaming."""

import json
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from playground.accounts import LLM_KEY, LLM_MODEL
from playground.llm.models import ChatRequest, Completion, Model, RefusedError, Turn

_ROLES = ("system", "developer", "user", "assistant")


class Llm:
    """One model behind one key."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._started = int(time.time())

    def routes(self) -> list[Route]:
        return [
            Route("/llm/v1/models", self.models),
            Route("/llm/v1/chat/completions", self.chat_completions, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        if not _has_key(request):
            return _wrong_key()
        model = {"id": LLM_MODEL, "object": "model", "created": self._started, "owned_by": "playground"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat_completions(self, request: Request) -> Response:
        if not _has_key(request):
            return _wrong_key()
        try:
            body = json.loads(await request.body())
        except ValueError:
            return _error(400, "The body is not JSON.", "invalid_json")
        try:
            chat = _parse(body)
            completion = await self._model.complete(chat)
        except RefusedError as refused:
            return _error(404 if refused.code == "model_not_found" else 400, str(refused), refused.code)
        return JSONResponse(_as_json(completion))


def _parse(body: Any) -> ChatRequest:
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise RefusedError("messages must be a list with at least one message.", "invalid_messages")
    if body.get("model") != LLM_MODEL:
        raise RefusedError(f"The model `{body.get('model')}` does not exist.", "model_not_found")
    if body.get("stream"):
        raise RefusedError("Streaming is not served here.", "unsupported_value")
    max_tokens = body.get("max_completion_tokens", body.get("max_tokens"))
    if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
        raise RefusedError("max_tokens must be a whole number of at least 1.", "invalid_value")
    temperature = body.get("temperature")
    if temperature is not None and type(temperature) not in (int, float):
        raise RefusedError("temperature must be a number.", "invalid_value")
    return ChatRequest(tuple(_turn(message) for message in body["messages"]), max_tokens, temperature)


def _turn(message: Any) -> Turn:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise RefusedError(f"Each message needs a role of {', '.join(_ROLES)}.", "invalid_messages")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise RefusedError("Each message needs a content.", "invalid_messages")
    return Turn(message["role"], content)


def _as_json(completion: Completion) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": LLM_MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.content, "refusal": None},
                "logprobs": None,
                "finish_reason": completion.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        },
    }


def _has_key(request: Request) -> bool:
    return secrets.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {LLM_KEY}".encode())


def _wrong_key() -> Response:
    return _error(401, "Incorrect API key provided.", "invalid_api_key")


def _error(status: int, message: str, code: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)
