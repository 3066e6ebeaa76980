"""Stage three: what a model has to say about it."""

import secrets
from uuid import UUID

from lib import work
from lib.errors import Refused
from lib.monitoring import guard, prompt
from lib.monitoring.items import CommentToGenerate, Wait
from lib.monitoring.providers import Provider
from lib.monitoring.runtime import runtime
from lib.monitoring.store import claims, processes
from lib.monitoring.turns import Outcome, attempt, settle_done


async def provider_of(process_id: UUID) -> Provider:
    """The provider that the process uses now. Raises Refused when it has none or it cannot be used."""
    run = runtime()
    async with run.database.session() as session:
        provider_id = await processes.provider_id(session, process_id)
    if provider_id is None:
        raise Refused("The process has no provider any more")
    return await run.providers.provider(provider_id)


async def take(process_id: UUID, provider_id: UUID, limit: int) -> CommentToGenerate | Wait | None:
    run = runtime()
    async with run.database.session() as session:
        return await claims.claim_generation(
            session, process_id, provider_id, limit, work.new_id(), run.settings.item_lease
        )


async def generate(item: CommentToGenerate) -> Outcome:
    """Ask the model once, check its answer, save the comment with its disclosure."""

    async def do() -> Outcome:
        run = runtime()
        have = run.settings
        provider = await run.providers.provider(item.provider_id)
        asked = await _prompt(item)
        answer = await provider.llm.complete(
            asked.system, asked.user, max_tokens=provider.max_tokens, temperature=provider.temperature
        )
        text = guard.accept(
            answer.text, answer.finish_reason, asked, minimum=have.comment_min_chars, maximum=have.comment_max_chars
        )
        return await settle_done(
            "generation",
            [item.claim],
            status="generated",
            comment_content=text,
            ai_model_name=answer.model,
            ai_provider_name=provider.name,
            generation_tokens=answer.tokens,
            generation_time_ms=answer.milliseconds,
            now=["generated_at"],
        )

    return await attempt("generation", [item.claim], do)


async def _prompt(item: CommentToGenerate) -> prompt.Prompt:
    run = runtime()
    template = await run.providers.template(item.template_id)
    facts = prompt.ArticleFacts(
        title=item.title,
        content=item.content,
        author=item.author,
        category=item.category,
        published_at=item.published_at,
        url=item.url,
        raw_html=item.raw_html,
        username=await run.shared.get(("username", item.login_id), lambda: run.sites.username(item.login_id)),
    )
    return prompt.render(
        template.system_prompt,
        template.user_prompt_template,
        facts,
        boundary=secrets.token_hex(6),
        raw_html_chars=run.settings.raw_html_prompt_chars,
    )
