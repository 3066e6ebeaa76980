"""what the console reads and keeps: causes of failures, stops, first templates, indexes, idempotency keys"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# An error without what differs from item to item: addresses, ids, quoted texts, numbers.
CAUSE_OF = r"""
CREATE FUNCTION cause_of(message text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN left(btrim(regexp_replace(
    regexp_replace(
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    left(message, 2000),
                    '[a-z][a-z0-9+.-]*://[^\s"”»<>]+', '<url>', 'gi'),
                '\m[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\M', '<id>', 'gi'),
            '“[^”]*”|„[^“]*“|«[^»]*»|"[^"]*"|''[^'']*''', '“…”', 'g'),
        '\m(?=[a-f]*[0-9])[0-9a-f]{8,}\M', '<id>', 'gi'),
    '[0-9]+([.,:’][0-9]+)*', 'N', 'g')), 200)
"""


def _one_comment_each(template: str) -> None:
    op.drop_constraint("one_comment_each", "ai_comments", type_="unique")
    op.create_unique_constraint(
        "one_comment_each", "ai_comments", ["mymoment_article_id", "mymoment_login_id", template]
    )


def upgrade() -> None:
    op.add_column("monitoring_processes", sa.Column("held_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE monitoring_processes SET held_at = stopped_at")
    op.add_column("ai_comments", sa.Column("discovered_template_id", sa.Uuid(), nullable=True))
    op.execute("UPDATE ai_comments SET discovered_template_id = prompt_template_id")
    op.alter_column("ai_comments", "discovered_template_id", nullable=False)
    op.create_foreign_key(
        "ai_comments_discovered_template_id_fkey",
        "ai_comments",
        "prompt_templates",
        ["discovered_template_id"],
        ["id"],
        ondelete="RESTRICT",
    )
    _one_comment_each("discovered_template_id")
    op.execute(CAUSE_OF)
    op.add_column(
        "ai_comments",
        sa.Column("cause", sa.Text(), sa.Computed("cause_of(error_message)", persisted=True), nullable=True),
    )
    op.create_index(
        "comments_to_review",
        "ai_comments",
        ["monitoring_process_id", "approval", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'generated'"),
    )
    op.create_index(
        "comments_posted",
        "ai_comments",
        ["posted_at", "monitoring_process_id"],
        unique=False,
        postgresql_where=sa.text("posted_at IS NOT NULL"),
    )
    op.create_index(
        "comments_failed",
        "ai_comments",
        ["monitoring_process_id", "failed_from", "cause", "failed_at", "post_sent_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "comments_in_trouble",
        "ai_comments",
        ["monitoring_process_id", "status", "cause", "next_attempt_at", "post_sent_at", "id"],
        unique=False,
        postgresql_where=sa.text("error_message IS NOT NULL AND status <> 'failed' AND status <> 'posted'"),
    )
    op.create_index(
        "comments_later",
        "ai_comments",
        ["monitoring_process_id", "status", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "key_hash"),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    for name in (
        "comments_later",
        "comments_in_trouble",
        "comments_failed",
        "comments_posted",
        "comments_to_review",
    ):
        op.drop_index(name, table_name="ai_comments")
    op.drop_column("ai_comments", "cause")
    # Two comments may have been written with one template; that by which they were found is each one's own.
    op.execute(
        "UPDATE ai_comments SET prompt_template_id = discovered_template_id"
        " WHERE prompt_template_id <> discovered_template_id"
    )
    _one_comment_each("prompt_template_id")
    op.drop_column("ai_comments", "discovered_template_id")
    op.drop_column("monitoring_processes", "held_at")
    op.execute("DROP FUNCTION cause_of(text)")
