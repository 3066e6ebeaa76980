"""how many calls of a provider are at work, counted under its lock"""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A statement sees what was committed when it began, and may then wait for the lock; within a volatile function the
# count begins after that. A call whose answer is noted is over. Not FOR UPDATE: an insert of a comment, which refers to
# the provider, would wait for it.
CALLS_AT_WORK = """
CREATE FUNCTION calls_at_work(provider uuid) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM llm_provider_configurations WHERE id = provider FOR NO KEY UPDATE;
    RETURN (SELECT count(*) FROM ai_comments AS comment
            WHERE llm_provider_id = provider AND status = 'prepared'
              AND claim_token IS NOT NULL AND lease_expires_at >= now()
              AND NOT EXISTS (SELECT FROM generation_attempts WHERE claim_token = comment.claim_token))
         + (SELECT count(*) FROM comparison_answers
            WHERE provider_id = provider AND claim_token IS NOT NULL AND lease_expires_at >= now());
END $$
"""


def upgrade() -> None:
    op.execute(CALLS_AT_WORK)


def downgrade() -> None:
    op.execute("DROP FUNCTION calls_at_work(uuid)")
