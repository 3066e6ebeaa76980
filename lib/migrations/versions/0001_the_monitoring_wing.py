"""the monitoring wing"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "stage_ticks",
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failure_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("stage"),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=150), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "llm_provider_configurations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("base_url", sa.String(length=500), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("api_key_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("max_concurrency", sa.Integer(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "mymoment_logins",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("base_url", sa.String(length=500), nullable=False),
        sa.Column("username_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("password_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_logins", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("posting_token", sa.Uuid(), nullable=True),
        sa.Column("posting_lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_post_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_index(op.f("ix_mymoment_logins_claim_token"), "mymoment_logins", ["claim_token"], unique=False)
    op.create_table(
        "prompt_templates",
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=False),
        sa.Column("user_prompt_template", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name", postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "monitoring_processes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("llm_provider_id", sa.Uuid(), nullable=True),
        sa.Column("tab_filter", sa.String(length=100), nullable=True),
        sa.Column("category_filter", sa.String(length=100), nullable=True),
        sa.Column("task_filter", sa.String(length=100), nullable=True),
        sa.Column("search_filter", sa.String(length=200), nullable=True),
        sa.Column("state_filter", sa.String(length=40), server_default="publiziert", nullable=False),
        sa.Column("article_limit", sa.Integer(), nullable=True),
        sa.Column("generate_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("hide_comments", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("max_duration_minutes", sa.Integer(), server_default="60", nullable=False),
        sa.Column("status", sa.String(length=20), server_default="created", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_reason", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("articles_discovered", sa.Integer(), server_default="0", nullable=False),
        sa.Column("articles_prepared", sa.Integer(), server_default="0", nullable=False),
        sa.Column("comments_generated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("comments_posted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors_encountered_in_discovery", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors_encountered_in_preparation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors_encountered_in_generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("errors_encountered_in_posting", sa.Integer(), server_default="0", nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('created', 'running', 'stopped', 'completed', 'failed')", name="process_status"),
        sa.CheckConstraint("max_duration_minutes BETWEEN 1 AND 1440", name="process_duration"),
        sa.ForeignKeyConstraint(["llm_provider_id"], ["llm_provider_configurations.id"], ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_index(op.f("ix_monitoring_processes_status"), "monitoring_processes", ["status"], unique=False)
    op.create_table(
        "mymoment_sessions",
        sa.Column("mymoment_login_id", sa.Uuid(), nullable=False),
        sa.Column("cookies_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["mymoment_login_id"], ["mymoment_logins.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "one_active_session",
        "mymoment_sessions",
        ["mymoment_login_id"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "ai_comments",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("monitoring_process_id", sa.Uuid(), nullable=False),
        sa.Column("mymoment_login_id", sa.Uuid(), nullable=False),
        sa.Column("llm_provider_id", sa.Uuid(), nullable=True),
        sa.Column("prompt_template_id", sa.Uuid(), nullable=False),
        sa.Column("mymoment_article_id", sa.String(length=40), nullable=False),
        sa.Column("article_title", sa.Text(), nullable=False),
        sa.Column("article_author", sa.Text(), server_default="", nullable=False),
        sa.Column("article_category", sa.Text(), server_default="", nullable=False),
        sa.Column("article_task", sa.Text(), server_default="", nullable=False),
        sa.Column("article_url", sa.Text(), nullable=False),
        sa.Column("article_edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("article_published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("article_scraped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("article_content", sa.Text(), nullable=True),
        sa.Column("article_raw_html", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="discovered", nullable=False),
        sa.Column("comment_content", sa.Text(), nullable=True),
        sa.Column("ai_model_name", sa.String(length=200), nullable=True),
        sa.Column("ai_provider_name", sa.String(length=100), nullable=True),
        sa.Column("generation_tokens", sa.Integer(), nullable=True),
        sa.Column("generation_time_ms", sa.Integer(), nullable=True),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approval", sa.String(length=10), nullable=True),
        sa.Column("approval_by", sa.Uuid(), nullable=True),
        sa.Column("approval_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mymoment_comment_id", sa.String(length=120), nullable=True),
        sa.Column("is_hidden", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("post_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_from", sa.String(length=20), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("approval IN ('approved', 'rejected')", name="comment_approval"),
        sa.CheckConstraint("status <> 'failed' OR error_message IS NOT NULL", name="failed_has_reason"),
        sa.CheckConstraint(
            "status <> 'posted' OR (posted_at IS NOT NULL AND mymoment_comment_id IS NOT NULL)", name="posted_has_proof"
        ),
        sa.CheckConstraint(
            "status IN ('discovered', 'prepared', 'generated', 'posted', 'failed')", name="comment_status"
        ),
        sa.ForeignKeyConstraint(["approval_by"], ["users.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["llm_provider_id"], ["llm_provider_configurations.id"], ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["monitoring_process_id"], ["monitoring_processes.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["mymoment_login_id"], ["mymoment_logins.id"], ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["prompt_template_id"], ["prompt_templates.id"], ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("mymoment_article_id", "mymoment_login_id", "prompt_template_id", name="one_comment_each"),
        sa.UniqueConstraint("mymoment_login_id", "mymoment_comment_id", name="one_record_a_site_comment"),
    )
    op.create_index("comments_in_work", "ai_comments", ["monitoring_process_id", "status", "id"], unique=False)
    op.create_index("comments_of_article", "ai_comments", ["mymoment_login_id", "mymoment_article_id"], unique=False)
    op.create_index(op.f("ix_ai_comments_claim_token"), "ai_comments", ["claim_token"], unique=False)
    op.create_index(op.f("ix_ai_comments_llm_provider_id"), "ai_comments", ["llm_provider_id"], unique=False)
    op.create_index(op.f("ix_ai_comments_prompt_template_id"), "ai_comments", ["prompt_template_id"], unique=False)
    op.create_table(
        "monitoring_process_logins",
        sa.Column("monitoring_process_id", sa.Uuid(), nullable=False),
        sa.Column("mymoment_login_id", sa.Uuid(), nullable=False),
        sa.Column("quiet_looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_look_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["monitoring_process_id"], ["monitoring_processes.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["mymoment_login_id"], ["mymoment_logins.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("monitoring_process_id", "mymoment_login_id"),
    )
    op.create_index(
        op.f("ix_monitoring_process_logins_mymoment_login_id"),
        "monitoring_process_logins",
        ["mymoment_login_id"],
        unique=False,
    )
    op.create_table(
        "monitoring_process_stages",
        sa.Column("monitoring_process_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_report", sa.JSON(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("stage IN ('discovery', 'preparation', 'generation', 'posting')", name="process_stage"),
        sa.ForeignKeyConstraint(["monitoring_process_id"], ["monitoring_processes.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("monitoring_process_id", "stage"),
    )
    op.create_index(
        op.f("ix_monitoring_process_stages_claim_token"), "monitoring_process_stages", ["claim_token"], unique=False
    )
    op.create_table(
        "monitoring_process_templates",
        sa.Column("monitoring_process_id", sa.Uuid(), nullable=False),
        sa.Column("prompt_template_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["monitoring_process_id"], ["monitoring_processes.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["prompt_template_id"], ["prompt_templates.id"], ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("monitoring_process_id", "prompt_template_id"),
    )
    op.create_index(
        op.f("ix_monitoring_process_templates_prompt_template_id"),
        "monitoring_process_templates",
        ["prompt_template_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_monitoring_process_templates_prompt_template_id"), table_name="monitoring_process_templates")
    op.drop_table("monitoring_process_templates")
    op.drop_index(op.f("ix_monitoring_process_stages_claim_token"), table_name="monitoring_process_stages")
    op.drop_table("monitoring_process_stages")
    op.drop_index(op.f("ix_monitoring_process_logins_mymoment_login_id"), table_name="monitoring_process_logins")
    op.drop_table("monitoring_process_logins")
    op.drop_index(op.f("ix_ai_comments_prompt_template_id"), table_name="ai_comments")
    op.drop_index(op.f("ix_ai_comments_llm_provider_id"), table_name="ai_comments")
    op.drop_index(op.f("ix_ai_comments_claim_token"), table_name="ai_comments")
    op.drop_index("comments_of_article", table_name="ai_comments")
    op.drop_index("comments_in_work", table_name="ai_comments")
    op.drop_table("ai_comments")
    op.drop_index("one_active_session", table_name="mymoment_sessions", postgresql_where=sa.text("is_active"))
    op.drop_table("mymoment_sessions")
    op.drop_index(op.f("ix_monitoring_processes_status"), table_name="monitoring_processes")
    op.drop_table("monitoring_processes")
    op.drop_table("prompt_templates")
    op.drop_index(op.f("ix_mymoment_logins_claim_token"), table_name="mymoment_logins")
    op.drop_table("mymoment_logins")
    op.drop_table("llm_provider_configurations")
    op.drop_table("users")
    op.drop_table("stage_ticks")
