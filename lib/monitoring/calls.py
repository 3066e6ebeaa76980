"""One question to a model: asked, answered, judged, priced, and made into what is kept of it."""

import time
from dataclasses import dataclass
from decimal import Decimal

from lib.errors import Permanent, PressroomError, Refused, Transient
from lib.llm import Completion, NoText
from lib.monitoring import guard
from lib.monitoring.guard import Verdict
from lib.monitoring.items import KeptAnswer
from lib.monitoring.prompt import Prompt
from lib.monitoring.providers import Provider
from lib.settings import Settings

PROMPT_CHARS = 50_000
ANSWER_CHARS = 20_000
ERROR_CHARS = 2_000
DETAIL_CHARS = 300


@dataclass(frozen=True)
class Call:
    """What became of a question. Without `error` the verdict's comment can be posted."""

    provider: Provider
    prompt: Prompt
    completion: Completion | None
    verdict: Verdict | None
    error: PressroomError | None
    milliseconds: int

    @property
    def is_trouble(self) -> bool:
        """The provider's fault, not that of what was asked or of how it was answered."""
        return isinstance(self.error, Transient | Refused) and not isinstance(self.error, guard.Rejected)

    @property
    def cost(self) -> Decimal | None:
        used = self.completion
        return self.provider.prices.of(used.input_tokens, used.output_tokens) if used else None

    def kept(self) -> KeptAnswer:
        used, verdict = self.completion, self.verdict
        rejected = isinstance(self.error, guard.Rejected)
        findings = verdict.findings if verdict else ()
        # What is refused is asked again without limit: each time would keep the same article anew.
        asked = None if self.is_trouble and used is None else self.prompt
        return KeptAnswer(
            provider_id=self.provider.id,
            provider_name=self.provider.name,
            currency=self.provider.prices.currency,
            outcome="accepted" if self.error is None else "rejected" if rejected else "error",
            error=None if self.error is None else storable(str(self.error), ERROR_CHARS),
            model_name=used.model if used else None,
            prompt_system=storable(asked.system, PROMPT_CHARS) if asked else None,
            prompt_user=storable(asked.user, PROMPT_CHARS) if asked else None,
            answer=storable(used.text, ANSWER_CHARS) if used else None,
            finish_reason=used.finish_reason if used else None,
            findings=tuple({"rule": each.rule, "detail": storable(each.detail, DETAIL_CHARS)} for each in findings),
            input_tokens=used.input_tokens if used else 0,
            output_tokens=used.output_tokens if used else 0,
            tokens_estimated=used.estimated if used else False,
            cost=self.cost,
            milliseconds=self.milliseconds,
        )


async def ask(provider: Provider, prompt: Prompt, settings: Settings) -> Call:
    """Ask once and let the guard look at the answer. An expected failure is a value in what is returned."""
    completion: Completion | None = None
    verdict: Verdict | None = None
    error: PressroomError | None = None
    began = time.perf_counter()
    try:
        completion = await provider.llm.complete(
            prompt.system, prompt.user, max_tokens=provider.max_tokens, temperature=provider.temperature
        )
    except NoText as empty:
        completion, error = empty.completion, empty
    except (Transient, Permanent, Refused) as failed:
        error = failed
    else:
        verdict = guard.examine(
            completion.text,
            completion.finish_reason,
            prompt,
            minimum=settings.comment_min_chars,
            maximum=settings.comment_max_chars,
        )
        error = guard.Rejected(verdict.findings) if verdict.findings else None
    return Call(provider, prompt, completion, verdict, error, round((time.perf_counter() - began) * 1000))


def storable(text: str, longest: int) -> str:
    """The beginning of a text from outside, without the characters that PostgreSQL cannot hold."""
    return text[:longest].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
