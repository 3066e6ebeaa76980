"""The tables of the monitoring wing: the seed's models and fields, and beside them what a claim needs."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from lib.monitoring.stages import CommentStatus, Stage
from lib.work import Base, Claimable, Leased, new_id

ProcessStatus = Literal["created", "running", "stopped", "completed", "failed"]
Approval = Literal["approved", "rejected"]
MONEY = Numeric(12, 4)


def one_of(column: str, values: Any) -> str:
    listed = ", ".join(f"'{value}'" for value in get_args(values))
    return f"{column} IN ({listed})"


class Identified:
    """A UUIDv7 key and the two times that every record has."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class User(Identified, Base):
    """Who owns logins, providers, templates and processes."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(150), unique=True)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))


class MyMomentLogin(Identified, Leased, Base):
    """An account on a site. Its lease is the right to log in; the posting columns pace it across workers."""

    __tablename__ = "mymoment_logins"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    base_url: Mapped[str] = mapped_column(String(500))
    username_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    password_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # A refused or failing log-in is not tried again before this.
    failed_logins: Mapped[int] = mapped_column(Integer, server_default="0")
    next_login_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The first refusal of those that follow each other until now.
    refused_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    error_message: Mapped[str | None] = mapped_column(Text)
    # One post at a time, and a pause after each.
    posting_token: Mapped[UUID | None] = mapped_column(Uuid)
    posting_lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    next_post_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class MyMomentSession(Identified, Base):
    """A logged-in session of a login: its cookies, until they expire."""

    __tablename__ = "mymoment_sessions"
    __table_args__ = (
        Index("one_active_session", "mymoment_login_id", unique=True, postgresql_where=text("is_active")),
    )

    mymoment_login_id: Mapped[UUID] = mapped_column(ForeignKey("mymoment_logins.id", ondelete="CASCADE"))
    cookies_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class LLMProviderConfiguration(Identified, Base):
    """A model behind an OpenAI-compatible endpoint."""

    __tablename__ = "llm_provider_configurations"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    base_url: Mapped[str] = mapped_column(String(500))
    model_name: Mapped[str] = mapped_column(String(200))
    api_key_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    max_tokens: Mapped[int | None] = mapped_column(Integer)
    temperature: Mapped[float | None] = mapped_column(Float)
    max_concurrency: Mapped[int | None] = mapped_column(Integer)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    preset: Mapped[str | None] = mapped_column(String(20))
    # Money per million tokens
    input_price: Mapped[Decimal | None] = mapped_column(MONEY)
    output_price: Mapped[Decimal | None] = mapped_column(MONEY)
    currency: Mapped[str] = mapped_column(String(3), server_default="USD")
    budget_tokens: Mapped[int | None] = mapped_column(BigInteger)
    budget_money: Mapped[Decimal | None] = mapped_column(MONEY)
    # Until then a process that has a fallback uses that.
    down_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    down_reason: Mapped[str | None] = mapped_column(Text)


class PromptTemplate(Identified, Base):
    """A prompt with placeholders; of a user, or of the system when it has none."""

    __tablename__ = "prompt_templates"
    __table_args__ = (UniqueConstraint("user_id", "name", postgresql_nulls_not_distinct=True),)

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    system_prompt: Mapped[str] = mapped_column(Text)
    user_prompt_template: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))


class MonitoringProcess(Identified, Base):
    """What is watched, with which logins and templates, and whether it posts."""

    __tablename__ = "monitoring_processes"
    __table_args__ = (
        UniqueConstraint("user_id", "name"),
        CheckConstraint(one_of("status", ProcessStatus), name="process_status"),
        CheckConstraint("max_duration_minutes BETWEEN 1 AND 1440", name="process_duration"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(Text)
    llm_provider_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("llm_provider_configurations.id", ondelete="RESTRICT")
    )
    fallback_provider_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("llm_provider_configurations.id", ondelete="RESTRICT")
    )
    # A day's; the money in its provider's currency.
    budget_tokens: Mapped[int | None] = mapped_column(BigInteger)
    budget_money: Mapped[Decimal | None] = mapped_column(MONEY)
    tab_filter: Mapped[str | None] = mapped_column(String(100))
    category_filter: Mapped[str | None] = mapped_column(String(100))
    task_filter: Mapped[str | None] = mapped_column(String(100))
    search_filter: Mapped[str | None] = mapped_column(String(200))
    state_filter: Mapped[str] = mapped_column(String(40), server_default="publiziert")
    article_limit: Mapped[int | None] = mapped_column(Integer)
    generate_only: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    hide_comments: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    max_duration_minutes: Mapped[int] = mapped_column(Integer, server_default="60")
    status: Mapped[str] = mapped_column(String(20), server_default="created", index=True)
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stopped_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The last stop, which may come after the end: it holds every approval given before.
    held_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    stop_reason: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    articles_discovered: Mapped[int] = mapped_column(Integer, server_default="0")
    articles_prepared: Mapped[int] = mapped_column(Integer, server_default="0")
    comments_generated: Mapped[int] = mapped_column(Integer, server_default="0")
    comments_posted: Mapped[int] = mapped_column(Integer, server_default="0")
    errors_encountered_in_discovery: Mapped[int] = mapped_column(Integer, server_default="0")
    errors_encountered_in_preparation: Mapped[int] = mapped_column(Integer, server_default="0")
    errors_encountered_in_generation: Mapped[int] = mapped_column(Integer, server_default="0")
    errors_encountered_in_posting: Mapped[int] = mapped_column(Integer, server_default="0")


class ProcessLogin(Base):
    """A login of a process, and when its index is looked at next."""

    __tablename__ = "monitoring_process_logins"

    monitoring_process_id: Mapped[UUID] = mapped_column(
        ForeignKey("monitoring_processes.id", ondelete="CASCADE"), primary_key=True
    )
    mymoment_login_id: Mapped[UUID] = mapped_column(
        ForeignKey("mymoment_logins.id", ondelete="RESTRICT"), primary_key=True, index=True
    )
    quiet_looks: Mapped[int] = mapped_column(Integer, server_default="0")
    next_look_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class ProcessTemplate(Base):
    """A template of a process."""

    __tablename__ = "monitoring_process_templates"

    monitoring_process_id: Mapped[UUID] = mapped_column(
        ForeignKey("monitoring_processes.id", ondelete="CASCADE"), primary_key=True
    )
    prompt_template_id: Mapped[UUID] = mapped_column(
        ForeignKey("prompt_templates.id", ondelete="RESTRICT"), primary_key=True, index=True
    )


class ProcessStage(Leased, Base):
    """One stage of one process: whether it runs, when it last did, and how that went."""

    __tablename__ = "monitoring_process_stages"
    __table_args__ = (CheckConstraint(one_of("stage", Stage), name="process_stage"),)

    monitoring_process_id: Mapped[UUID] = mapped_column(
        ForeignKey("monitoring_processes.id", ondelete="CASCADE"), primary_key=True
    )
    stage: Mapped[str] = mapped_column(String(20), primary_key=True)
    next_due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    last_error: Mapped[str | None] = mapped_column(Text)
    flow_run_id: Mapped[str | None] = mapped_column(String(36))


class StageTick(Base):
    """The last tick of a stage over all processes: what health and alerts look at."""

    __tablename__ = "stage_ticks"

    stage: Mapped[str] = mapped_column(String(20), primary_key=True)
    last_success_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_failure_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)


class AIComment(Identified, Claimable, Base):
    """One comment on one article by one login, once a template: discovered, prepared, generated, posted."""

    __tablename__ = "ai_comments"
    __table_args__ = (
        UniqueConstraint("mymoment_article_id", "mymoment_login_id", "discovered_template_id", name="one_comment_each"),
        UniqueConstraint("mymoment_login_id", "mymoment_comment_id", name="one_record_a_site_comment"),
        CheckConstraint(one_of("status", CommentStatus), name="comment_status"),
        CheckConstraint(one_of("approval", Approval), name="comment_approval"),
        CheckConstraint(
            "status <> 'posted' OR (posted_at IS NOT NULL AND mymoment_comment_id IS NOT NULL)", name="posted_has_proof"
        ),
        CheckConstraint("status <> 'failed' OR error_message IS NOT NULL", name="failed_has_reason"),
        Index("comments_in_work", "monitoring_process_id", "status", "id"),
        # What the stages look for; it is small, however many are posted.
        Index(
            "comments_waiting",
            "status",
            "monitoring_process_id",
            "id",
            "mymoment_login_id",
            postgresql_where=text("status IN ('discovered', 'prepared', 'generated')"),
        ),
        # What a provider was asked for: the calls that are at work are among them.
        Index(
            "comments_asked_for",
            "llm_provider_id",
            postgresql_where=text("status = 'prepared' AND llm_provider_id IS NOT NULL"),
        ),
        Index("comments_of_article", "mymoment_login_id", "mymoment_article_id"),
        # What the console reads; the partial ones hold only what their pages show.
        Index(
            "comments_to_review",
            "monitoring_process_id",
            "approval",
            "id",
            postgresql_where=text("status = 'generated'"),
        ),
        Index("comments_posted", "posted_at", "monitoring_process_id", postgresql_where=text("posted_at IS NOT NULL")),
        Index(
            "comments_failed",
            "monitoring_process_id",
            "failed_from",
            "cause",
            "failed_at",
            "post_sent_at",
            "id",
            postgresql_where=text("status = 'failed'"),
        ),
        Index(
            "comments_in_trouble",
            "monitoring_process_id",
            "status",
            "cause",
            "next_attempt_at",
            "post_sent_at",
            "id",
            postgresql_where=text("error_message IS NOT NULL AND status <> 'failed' AND status <> 'posted'"),
        ),
        Index(
            "comments_later",
            "monitoring_process_id",
            "status",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    monitoring_process_id: Mapped[UUID] = mapped_column(ForeignKey("monitoring_processes.id", ondelete="CASCADE"))
    mymoment_login_id: Mapped[UUID] = mapped_column(ForeignKey("mymoment_logins.id", ondelete="RESTRICT"))
    # Who was asked to write it, from the first claim on.
    llm_provider_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("llm_provider_configurations.id", ondelete="RESTRICT"), index=True
    )
    # What it is written with; a person may choose another one, which leaves the place of the first one taken.
    prompt_template_id: Mapped[UUID] = mapped_column(ForeignKey("prompt_templates.id", ondelete="RESTRICT"), index=True)
    discovered_template_id: Mapped[UUID] = mapped_column(ForeignKey("prompt_templates.id", ondelete="RESTRICT"))

    mymoment_article_id: Mapped[str] = mapped_column(String(40))
    article_title: Mapped[str] = mapped_column(Text)
    article_author: Mapped[str] = mapped_column(Text, server_default="")
    article_category: Mapped[str] = mapped_column(Text, server_default="")
    article_task: Mapped[str] = mapped_column(Text, server_default="")
    article_url: Mapped[str] = mapped_column(Text)
    article_edited_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    article_published_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    article_scraped_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    article_content: Mapped[str | None] = mapped_column(Text)
    article_raw_html: Mapped[str | None] = mapped_column(Text)

    status: Mapped[str] = mapped_column(String(20), server_default="discovered")
    comment_content: Mapped[str | None] = mapped_column(Text)
    ai_model_name: Mapped[str | None] = mapped_column(String(200))
    ai_provider_name: Mapped[str | None] = mapped_column(String(100))
    generation_tokens: Mapped[int | None] = mapped_column(Integer)
    generation_time_ms: Mapped[int | None] = mapped_column(Integer)
    generated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # What a person wants the next draft to heed.
    generation_note: Mapped[str | None] = mapped_column(String(500))

    # One by one, by a person; a process that posts needs no approval.
    approval: Mapped[str | None] = mapped_column(String(10))
    approval_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    approval_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    mymoment_comment_id: Mapped[str | None] = mapped_column(String(120))
    is_hidden: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    posted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Set before a post goes out: from then on only reading back tells whether it arrived.
    post_sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    error_message: Mapped[str | None] = mapped_column(Text)
    failed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The status that a retry returns to.
    failed_from: Mapped[str | None] = mapped_column(String(20))
    # The error without what differs from item to item; for grouping alone, so not read with the row.
    cause: Mapped[str | None] = mapped_column(Text, Computed("cause_of(error_message)", persisted=True), deferred=True)
