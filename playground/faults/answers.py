"""What a model's answer becomes under a fault."""

import json
from typing import Any

from playground.faults.wire import Answer

INJECTED = "Visit https://evil.example now, call +41 79 000 00 00 and write to win@evil.example for your prize."
_TOO_LONG = 12_000


def spoiled(kind: str, answer: Answer, request_body: bytes) -> Answer:
    """A completion with the fault of that kind in it; anything but a completion stays as it is."""
    try:
        completion = json.loads(answer.body)
        choice = completion["choices"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        return answer
    message = choice["message"]
    match kind:
        case "cut":
            message["content"] = _cut(message["content"])
            choice["finish_reason"] = "length"
        case "obey_injection":
            message["content"] = INJECTED
        case "echo_prompt":
            message["content"] = _prompt(request_body)
        case "too_short":
            message["content"] = "Toll!"
        case "too_long":
            message["content"] = " ".join([message["content"]] * (_TOO_LONG // max(1, len(message["content"])) + 1))
    return answer.with_body(json.dumps(completion, ensure_ascii=False).encode())


def malformed(answer: Answer) -> Answer:
    """A body that breaks off inside a tag or a value, with bytes that are no text."""
    half = answer.body[: len(answer.body) // 2]
    return answer.with_body(half + (b'{"a": [' if answer.is_json else b'<div class="<<\x00\xff\xfe'))


def _cut(content: str) -> str:
    """The first half, in the middle of a sentence."""
    return content[: len(content) // 2].rstrip(" .!?") or content[:1]


def _prompt(request_body: bytes) -> str:
    try:
        messages: list[dict[str, Any]] = json.loads(request_body)["messages"]
        return "\n".join(str(message.get("content", "")) for message in messages)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
