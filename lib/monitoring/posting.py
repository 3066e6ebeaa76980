"""Stage four: on the site, at most once.

Claim, read back, note the intent, post, read back, settle. Whatever happens in between (no answer, a dropped
connection, a killed worker), the next attempt begins with reading back.
"""

from uuid import UUID

from lib import work
from lib.errors import OutcomeUnknown, Permanent, PressroomError, Transient
from lib.monitoring.items import CommentToPost, Wait
from lib.monitoring.mymoment import MyMoment, count_alike, find_own, placeholder_id
from lib.monitoring.runtime import runtime
from lib.monitoring.store import claims, comments, stages
from lib.monitoring.turns import Outcome, attempt, settle_done
from lib.units import observed


async def logins_of(process_id: UUID) -> list[UUID]:
    return await runtime().database.run_statement(lambda connection: stages.posting_logins(connection, process_id))


async def take(process_id: UUID, login_id: UUID) -> CommentToPost | Wait | None:
    run = runtime()
    lease = run.settings.item_lease
    return await run.database.run_statement(
        lambda connection: claims.claim_post(connection, process_id, login_id, work.new_id(), lease)
    )


async def post(item: CommentToPost) -> Outcome:
    """Put the comment on the site if it is not there, and settle on the id that the site shows."""

    async def do() -> Outcome:
        run = runtime()
        comment_id = await run.sites.use(item.login_id, lambda site: _post(site, item))
        return await settle_done(
            "posting",
            [item.claim],
            status="posted",
            mymoment_comment_id=comment_id,
            is_hidden=item.hidden,
            now=["posted_at"],
            pause=run.settings.post_interval,
        )

    outcome = Outcome()
    try:
        outcome = await attempt("posting", [item.claim], do)
    finally:
        if not outcome.done:
            await _release_login(item)
    return outcome


async def _post(site: MyMoment, item: CommentToPost) -> str:
    """The site's id of the comment. Begins with a read, so it may be run again after a new log-in."""
    page = await site.article(item.article_id)
    there = find_own(page.comments, item.text, item.known_ids, without_id=False)
    if there is not None and there.id:
        return there.id
    if item.sent_ago is not None and (left := runtime().settings.unknown_wait - item.sent_ago) > 0:
        raise OutcomeUnknown("The comment was sent before, and is not there yet", left)
    # Comments with our words and no id: another login of ours may have said the same, so they prove nothing.
    alike = count_alike(page.comments, item.text)
    if item.sent and alike:
        raise Permanent(
            "Outcome unknown: the comment was sent before, and one with its words is there, "
            "but the site does not say whose it is"
        )
    if item.sent and item.hidden:
        raise Permanent(
            "Outcome unknown: a hidden comment was sent before and may be on the site where we cannot see it"
        )
    if page.csrf_token is None:
        raise Permanent(f"Article {item.article_id} takes no comments: its page has no comment form")
    await _note_intent(item)
    unanswered: OutcomeUnknown | None = None
    accepted = False
    try:
        accepted = await site.post_comment(item.article_id, item.text, csrf_token=page.csrf_token, hidden=item.hidden)
    except OutcomeUnknown as error:
        unanswered = error
    except Transient:
        if not item.sent:  # this one certainly did not arrive; of an earlier one nobody knows
            await _take_intent_back(item)
        raise
    return await _read_back(site, item, unanswered, accepted=accepted, alike=alike)


@observed(run_name="read back “{item.title}”")
async def _read_back(
    site: MyMoment, item: CommentToPost, unanswered: OutcomeUnknown | None, *, accepted: bool, alike: int
) -> str:
    """`alike`: how many comments had our words, but no id, before the post."""
    try:
        page = await site.article(item.article_id)
    except PressroomError as error:
        # Not a new log-in nor an early retry: what is on its way needs all of its time to arrive.
        raise OutcomeUnknown(f"{unanswered or 'Sent'}; reading back failed: {error}") from error
    there = find_own(page.comments, item.text, item.known_ids, without_id=False)
    if there is not None and there.id:
        return there.id
    if accepted and count_alike(page.comments, item.text) > alike:
        return placeholder_id(item.article_id, item.claim.id)
    if unanswered is not None:
        raise unanswered
    if accepted:
        # The site took it but does not show it: posting again could double it, so a person decides.
        raise Permanent("Outcome unknown: the site accepted the comment but does not show it")
    raise Permanent("The site did not accept the comment: it showed the form again")


async def _note_intent(item: CommentToPost) -> None:
    """From here on only the site knows. The lease is renewed so that it outlasts the request."""
    run = runtime()
    lease = run.settings.item_lease
    if not await run.database.run_statement(lambda connection: comments.confirm_post(connection, item.claim, lease)):
        raise Transient("Another worker has taken this comment over")


async def _take_intent_back(item: CommentToPost) -> None:
    await runtime().database.run_transaction(lambda session: comments.unconfirm_post(session, item.claim))


async def _release_login(item: CommentToPost) -> None:
    run = runtime()
    await run.database.run_statement(
        lambda connection: comments.release_login(connection, item.claim.token, run.settings.post_interval)
    )
