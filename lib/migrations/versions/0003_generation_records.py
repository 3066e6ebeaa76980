"""generation records, budgets and history"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Who did it: the person whom `history.act_as` named in this transaction, else the flow run that holds the stage.
STEP = """
CREATE FUNCTION note_comment_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    the_kind text;
    the_note text;
    the_actor text := nullif(current_setting('pressroom.actor', true), '');
BEGIN
    IF NEW.status <> OLD.status THEN
        IF NEW.status = 'failed' THEN
            the_kind := 'failed';
            the_note := NEW.error_message;
        ELSIF array_position('{discovered,prepared,generated,posted,failed}', NEW.status::text)
            < array_position('{discovered,prepared,generated,posted,failed}', OLD.status::text) THEN
            the_kind := 'sent_back';
            the_note := NEW.generation_note;
        ELSE
            the_kind := NEW.status;
        END IF;
    ELSIF NEW.attempts > OLD.attempts THEN
        the_kind := CASE WHEN OLD.claim_token IS NULL THEN 'claimed' ELSE 'taken_over' END;
    ELSIF NEW.retry_count > OLD.retry_count THEN
        the_kind := 'attempt_failed';
        the_note := NEW.error_message;
    ELSIF OLD.claim_token IS NOT NULL AND NEW.claim_token IS NULL THEN
        the_kind := CASE WHEN NEW.next_attempt_at > now() THEN 'postponed' ELSE 'released' END;
        the_note := NEW.error_message;
    ELSIF NEW.comment_content IS DISTINCT FROM OLD.comment_content THEN
        the_kind := 'edited';
        the_note := OLD.comment_content;
    ELSIF NEW.approval_at IS DISTINCT FROM OLD.approval_at OR NEW.approval IS DISTINCT FROM OLD.approval THEN
        the_kind := coalesce(NEW.approval, 'undecided');
    ELSIF NEW.generation_note IS DISTINCT FROM OLD.generation_note THEN
        the_kind := 'noted';
        the_note := NEW.generation_note;
    ELSIF NEW.post_sent_at IS DISTINCT FROM OLD.post_sent_at THEN
        the_kind := CASE WHEN NEW.post_sent_at IS NULL THEN 'not_sent' ELSE 'sent' END;
    ELSE
        the_kind := 'error_changed';
        the_note := NEW.error_message;
    END IF;
    IF the_actor IS NULL AND (OLD.claim_token IS NOT NULL OR NEW.claim_token IS NOT NULL) THEN
        SELECT 'flow run ' || held.flow_run_id INTO the_actor FROM monitoring_process_stages AS held
        WHERE held.monitoring_process_id = NEW.monitoring_process_id AND held.claim_token IS NOT NULL
        AND held.stage = CASE OLD.status
            WHEN 'discovered' THEN 'preparation' WHEN 'prepared' THEN 'generation' ELSE 'posting' END;
    END IF;
    INSERT INTO comment_events (comment_id, kind, from_status, to_status, attempt, actor, note)
    VALUES (NEW.id, the_kind, OLD.status, NEW.status, greatest(OLD.attempts, NEW.attempts), the_actor,
        left(the_note, 10000));
    RETURN NULL;
END $$
"""
# Renewing a lease changes nothing that is listed here, so it does not even call the function.
STEPS = """
CREATE TRIGGER comment_steps AFTER UPDATE ON ai_comments FOR EACH ROW WHEN (
    OLD.status <> NEW.status OR OLD.attempts < NEW.attempts OR OLD.retry_count < NEW.retry_count
    OR (OLD.claim_token IS NOT NULL AND NEW.claim_token IS NULL)
    OR OLD.approval IS DISTINCT FROM NEW.approval OR OLD.approval_at IS DISTINCT FROM NEW.approval_at
    OR OLD.comment_content IS DISTINCT FROM NEW.comment_content
    OR OLD.generation_note IS DISTINCT FROM NEW.generation_note
    OR OLD.post_sent_at IS DISTINCT FROM NEW.post_sent_at
    OR OLD.error_message IS DISTINCT FROM NEW.error_message
) EXECUTE FUNCTION note_comment_step()
"""
BEGINNING = """
CREATE FUNCTION note_comment_beginnings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO comment_events (comment_id, kind, to_status, actor)
    SELECT fresh.id, 'discovered', fresh.status,
        coalesce(nullif(current_setting('pressroom.actor', true), ''), 'flow run ' || held.flow_run_id)
    FROM fresh LEFT JOIN monitoring_process_stages AS held
    ON held.monitoring_process_id = fresh.monitoring_process_id AND held.stage = 'discovery'
    AND held.claim_token IS NOT NULL;
    RETURN NULL;
END $$
"""
BEGINNINGS = """
CREATE TRIGGER comment_beginnings AFTER INSERT ON ai_comments REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION note_comment_beginnings()
"""


def upgrade() -> None:
    op.create_table(
        "llm_usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost", sa.Numeric(precision=14, scale=6), server_default="0", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.PrimaryKeyConstraint("day", "process_id", "provider_id"),
    )
    op.create_index("usage_of_provider", "llm_usage", ["provider_id", "day"], unique=False)
    op.create_table(
        "comparisons",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.Column("template_a", sa.Uuid(), nullable=False),
        sa.Column("template_b", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), server_default="waiting", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'running', 'stopped', 'done')", name="comparison_status"),
        sa.ForeignKeyConstraint(["provider_id"], ["llm_provider_configurations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["template_a"], ["prompt_templates.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["template_b"], ["prompt_templates.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_comparisons_user_id"), "comparisons", ["user_id"], unique=False)
    op.create_table(
        "comment_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("comment_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("from_status", sa.String(length=20), nullable=True),
        sa.Column("to_status", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["comment_id"], ["ai_comments.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("events_of_comment", "comment_events", ["comment_id", "id"], unique=False)
    op.create_table(
        "comparison_answers",
        sa.Column("comparison_id", sa.Uuid(), nullable=False),
        sa.Column("comment_id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.String(length=1), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), server_default="waiting", nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=True),
        sa.Column("prompt_system", sa.Text(), nullable=True),
        sa.Column("prompt_user", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.String(length=40), nullable=True),
        sa.Column("findings", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tokens_estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cost", sa.Numeric(precision=12, scale=6), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("side IN ('a', 'b')", name="answer_side"),
        sa.CheckConstraint("status IN ('waiting', 'done', 'failed')", name="answer_status"),
        sa.ForeignKeyConstraint(["comment_id"], ["ai_comments.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparisons.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["provider_id"], ["llm_provider_configurations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["template_id"], ["prompt_templates.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("comparison_id", "comment_id", "side", name="one_answer_each"),
    )
    op.create_index(
        "answers_in_work",
        "comparison_answers",
        ["provider_id"],
        unique=False,
        postgresql_where=sa.text("claim_token IS NOT NULL"),
    )
    op.create_index(op.f("ix_comparison_answers_claim_token"), "comparison_answers", ["claim_token"], unique=False)
    op.create_index(op.f("ix_comparison_answers_comment_id"), "comparison_answers", ["comment_id"], unique=False)
    op.create_table(
        "generation_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("comment_id", sa.Uuid(), nullable=False),
        sa.Column("claim_token", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("provider_name", sa.String(length=100), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("model_name", sa.String(length=200), nullable=True),
        sa.Column("prompt_system", sa.Text(), nullable=True),
        sa.Column("prompt_user", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.String(length=40), nullable=True),
        sa.Column("findings", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tokens_estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cost", sa.Numeric(precision=12, scale=6), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.CheckConstraint("outcome IN ('accepted', 'rejected', 'error')", name="attempt_outcome"),
        sa.ForeignKeyConstraint(["comment_id"], ["ai_comments.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("claim_token"),
    )
    op.create_index("attempts_of_comment", "generation_attempts", ["comment_id", "id"], unique=False)
    op.add_column("ai_comments", sa.Column("generation_note", sa.String(length=500), nullable=True))
    op.add_column("llm_provider_configurations", sa.Column("preset", sa.String(length=20), nullable=True))
    op.add_column(
        "llm_provider_configurations", sa.Column("input_price", sa.Numeric(precision=12, scale=4), nullable=True)
    )
    op.add_column(
        "llm_provider_configurations", sa.Column("output_price", sa.Numeric(precision=12, scale=4), nullable=True)
    )
    op.add_column(
        "llm_provider_configurations", sa.Column("currency", sa.String(length=3), server_default="USD", nullable=False)
    )
    op.add_column("llm_provider_configurations", sa.Column("budget_tokens", sa.BigInteger(), nullable=True))
    op.add_column(
        "llm_provider_configurations", sa.Column("budget_money", sa.Numeric(precision=12, scale=4), nullable=True)
    )
    op.add_column("llm_provider_configurations", sa.Column("down_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("llm_provider_configurations", sa.Column("down_reason", sa.Text(), nullable=True))
    op.add_column("monitoring_processes", sa.Column("fallback_provider_id", sa.Uuid(), nullable=True))
    op.add_column("monitoring_processes", sa.Column("budget_tokens", sa.BigInteger(), nullable=True))
    op.add_column("monitoring_processes", sa.Column("budget_money", sa.Numeric(precision=12, scale=4), nullable=True))
    op.add_column("mymoment_logins", sa.Column("refused_since", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        "monitoring_processes_fallback_provider_id_fkey",
        "monitoring_processes",
        "llm_provider_configurations",
        ["fallback_provider_id"],
        ["id"],
        ondelete="RESTRICT",
    )
    for statement in (STEP, STEPS, BEGINNING, BEGINNINGS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER comment_beginnings ON ai_comments")
    op.execute("DROP TRIGGER comment_steps ON ai_comments")
    op.execute("DROP FUNCTION note_comment_beginnings()")
    op.execute("DROP FUNCTION note_comment_step()")
    op.drop_column("mymoment_logins", "refused_since")
    op.drop_column("monitoring_processes", "budget_money")
    op.drop_column("monitoring_processes", "budget_tokens")
    op.drop_column("monitoring_processes", "fallback_provider_id")
    op.drop_column("llm_provider_configurations", "down_reason")
    op.drop_column("llm_provider_configurations", "down_until")
    op.drop_column("llm_provider_configurations", "budget_money")
    op.drop_column("llm_provider_configurations", "budget_tokens")
    op.drop_column("llm_provider_configurations", "currency")
    op.drop_column("llm_provider_configurations", "output_price")
    op.drop_column("llm_provider_configurations", "input_price")
    op.drop_column("llm_provider_configurations", "preset")
    op.drop_column("ai_comments", "generation_note")
    op.drop_table("generation_attempts")
    op.drop_table("comparison_answers")
    op.drop_table("comment_events")
    op.drop_table("comparisons")
    op.drop_table("llm_usage")
