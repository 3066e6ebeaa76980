"""What is read from the table, and how its rows and the site's answers become evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, text

from lib.database import Database
from tests.chaos.evidence import OnSite, Record, Wanted

PUBLISHED = 20

# Every change of a comment's claim, status or intent to post: for the takeovers, and for finding out what went wrong.
WITNESS = (
    """CREATE TABLE chaos_history (at timestamptz, comment uuid, status text, token uuid, token_before uuid,
    lease_before timestamptz, sent_at timestamptz, attempts int, error text)""",
    """CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_history VALUES (clock_timestamp(), NEW.id, NEW.status, NEW.claim_token, OLD.claim_token,
    OLD.lease_expires_at, NEW.post_sent_at, NEW.attempts, NEW.error_message);
    RETURN NULL; END $$""",
    """CREATE TRIGGER chaos_witness AFTER UPDATE ON ai_comments FOR EACH ROW
    WHEN (OLD.claim_token IS DISTINCT FROM NEW.claim_token OR OLD.post_sent_at IS DISTINCT FROM NEW.post_sent_at)
    EXECUTE FUNCTION chaos_note()""",
)


@dataclass(frozen=True)
class Takeover:
    """A comment that a killed worker left: its status, whether its post was sent, seconds since the lease's end."""

    status: str
    sent: bool
    late: float


RECORDS = """SELECT c.mymoment_article_id AS article, l.name AS login, t.name AS template, p.name AS process,
    c.status, c.comment_content AS text, c.mymoment_comment_id AS site_id, c.error_message AS error, c.failed_from,
    c.claim_token IS NOT NULL AS held, c.approval, c.id::text AS id
    FROM ai_comments c JOIN mymoment_logins l ON l.id = c.mymoment_login_id
    JOIN prompt_templates t ON t.id = c.prompt_template_id
    JOIN monitoring_processes p ON p.id = c.monitoring_process_id"""
OVER = """SELECT count(*) AS number FROM ai_comments WHERE status IN ('posted', 'failed') OR approval = 'rejected'"""
WAITING = """SELECT c.id, c.updated_at, c.user_id FROM ai_comments c
    JOIN monitoring_processes p ON p.id = c.monitoring_process_id
    WHERE p.generate_only AND c.status = 'generated' AND c.approval IS NULL"""
TURNS = """SELECT r.pid, (l.parameters ->> 'number')::int AS number,
    coalesce(l.started_at <= cast(:end AS timestamptz) AND l.completed_at >= cast(:begin AS timestamptz), false) AS met
    FROM task_execution_logs l JOIN task_recorders r ON r.id = l.recorder_id
    WHERE l.task_name = 'turn' AND l.completed_at IS NOT NULL AND r.pid = ANY(:pids)"""
DROPPED = """SELECT coalesce(sum(dropped), 0)::bigint AS number FROM task_recorders WHERE pid = ANY(:pids)"""
COUNTED = """SELECT name AS process, articles_discovered AS discovered, articles_prepared AS prepared,
    comments_generated AS generated, comments_posted AS posted, errors_encountered_in_preparation +
    errors_encountered_in_generation + errors_encountered_in_posting AS failures FROM monitoring_processes"""
HELD = """SELECT 'posting with ' || name AS what FROM mymoment_logins WHERE posting_lease_expires_at >= now()
    UNION ALL SELECT 'log-in of ' || name FROM mymoment_logins
    WHERE claim_token IS NOT NULL AND lease_expires_at >= now()
    UNION ALL SELECT s.stage || ' of ' || p.name FROM monitoring_process_stages s JOIN monitoring_processes p
    ON p.id = s.monitoring_process_id WHERE s.claim_token IS NOT NULL AND s.lease_expires_at >= now()"""


TAKEOVERS = """SELECT status, sent_at IS NOT NULL AS sent,
    extract(epoch FROM at - lease_before)::double precision AS late
    FROM chaos_history WHERE token <> token_before"""
HISTORY = """SELECT to_char(h.at, 'HH24:MI:SS.MS') AS at, right(h.comment::text, 4) AS comment, h.status, h.attempts,
    right(h.token::text, 4) AS token, right(h.token_before::text, 4) AS before,
    to_char(h.lease_before, 'MI:SS.MS') AS lease, to_char(h.sent_at, 'MI:SS.MS') AS sent, h.error
    FROM chaos_history h JOIN ai_comments c ON c.id = h.comment JOIN mymoment_logins l ON l.id = c.mymoment_login_id
    WHERE c.mymoment_article_id = :article AND l.name = :login ORDER BY h.at"""


async def rows(database: Database, query: str, **values: Any) -> Sequence[RowMapping]:
    async with database.session() as session:
        return (await session.execute(text(query), values)).mappings().all()


def record(row: RowMapping) -> Record:
    values = dict(row)
    wanted = Wanted(values.pop("article"), values.pop("login"), values.pop("template"))
    return Record(wanted, **values)


def on_site(comment: dict[str, Any]) -> OnSite:
    return OnSite(
        id=str(comment["id"]),
        article=str(comment["article_id"]),
        author=comment["author"],
        text=comment["text"],
        published=comment["status"] == PUBLISHED,
        hidden=comment["hidden"],
        created_at=comment["created_at"],
    )
