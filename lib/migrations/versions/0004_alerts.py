"""alerts"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("episode", sa.String(length=100), server_default="", nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('flow_run.failed', 'flow_run.crashed', 'stage.silent', 'process.stopped', 'budget.warning', "
            "'budget.exhausted', 'login.refused', 'health.ill')",
            name="alert_kind",
        ),
        sa.CheckConstraint("status IN ('recorded', 'pending', 'delivered', 'dead')", name="alert_status"),
        sa.CheckConstraint("status <> 'dead' OR error_message IS NOT NULL", name="dead_alert_has_reason"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "one_open_alert_a_cause",
        "alerts",
        ["kind", "subject", "episode"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index("alerts_to_send", "alerts", ["id"], unique=False, postgresql_where=sa.text("status = 'pending'"))
    op.create_index(op.f("ix_alerts_claim_token"), "alerts", ["claim_token"], unique=False)
    op.create_table(
        "alert_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_alert_attempts_alert_id"), "alert_attempts", ["alert_id"], unique=False)
    op.create_table(
        "alert_stopped_endpoints",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )


def downgrade() -> None:
    op.drop_table("alert_stopped_endpoints")
    op.drop_index(op.f("ix_alert_attempts_alert_id"), table_name="alert_attempts")
    op.drop_table("alert_attempts")
    op.drop_index(op.f("ix_alerts_claim_token"), table_name="alerts")
    op.drop_index("alerts_to_send", table_name="alerts", postgresql_where=sa.text("status = 'pending'"))
    op.drop_index("one_open_alert_a_cause", table_name="alerts", postgresql_where=sa.text("resolved_at IS NULL"))
    op.drop_table("alerts")
