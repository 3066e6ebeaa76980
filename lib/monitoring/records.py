"""The tables of what was done, asked and spent: a comment's events, the models' answers, usage, comparisons."""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from lib.monitoring.models import Identified, one_of
from lib.work import Base, Claimable

AttemptOutcome = Literal["accepted", "rejected", "error"]
ComparisonStatus = Literal["waiting", "running", "stopped", "done"]
AnswerStatus = Literal["waiting", "done", "failed"]
Side = Literal["a", "b"]


class CommentEvent(Base):
    """One step in a comment's life. A trigger on `ai_comments` writes it; nothing else does."""

    __tablename__ = "comment_events"
    __table_args__ = (Index("events_of_comment", "comment_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    comment_id: Mapped[UUID] = mapped_column(ForeignKey("ai_comments.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    kind: Mapped[str] = mapped_column(String(20))
    from_status: Mapped[str | None] = mapped_column(String(20))
    to_status: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    actor: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)


class Answered:
    """What a model was asked, what it answered, what the guard found, and what that cost."""

    model_name: Mapped[str | None] = mapped_column(String(200))
    prompt_system: Mapped[str | None] = mapped_column(Text)
    prompt_user: Mapped[str | None] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    finish_reason: Mapped[str | None] = mapped_column(String(40))
    findings: Mapped[list[dict[str, str]]] = mapped_column(JSONB, server_default=text("'[]'"))
    input_tokens: Mapped[int] = mapped_column(Integer, server_default="0")
    output_tokens: Mapped[int] = mapped_column(Integer, server_default="0")
    # The model did not say how many; they are counted from the texts' lengths.
    tokens_estimated: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    # None where the provider has no prices.
    cost: Mapped[Decimal | None] = mapped_column(Numeric(12, 6))
    milliseconds: Mapped[int | None] = mapped_column(Integer)


class GenerationAttempt(Answered, Base):
    """One call of a model for a comment. `claim_token` makes noting it twice note it once."""

    __tablename__ = "generation_attempts"
    __table_args__ = (
        CheckConstraint(one_of("outcome", AttemptOutcome), name="attempt_outcome"),
        Index("attempts_of_comment", "comment_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    comment_id: Mapped[UUID] = mapped_column(ForeignKey("ai_comments.id", ondelete="CASCADE"))
    claim_token: Mapped[UUID] = mapped_column(Uuid, unique=True)
    attempt: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    provider_id: Mapped[UUID] = mapped_column(Uuid)
    provider_name: Mapped[str] = mapped_column(String(100))
    template_id: Mapped[UUID] = mapped_column(Uuid)
    outcome: Mapped[str] = mapped_column(String(10))
    error: Mapped[str | None] = mapped_column(Text)
    flow_run_id: Mapped[str | None] = mapped_column(String(36))


class LLMUsage(Base):
    """What a process used of a provider on a day of the budgets' zone. It outlives both, so neither is a foreign key.

    What no process used (comparisons) stands under the nil UUID.
    """

    __tablename__ = "llm_usage"
    __table_args__ = (Index("usage_of_provider", "provider_id", "day"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    process_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    provider_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    calls: Mapped[int] = mapped_column(Integer, server_default="0")
    input_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    output_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[Decimal] = mapped_column(Numeric(14, 6), server_default="0")
    currency: Mapped[str] = mapped_column(String(3))


class Comparison(Identified, Base):
    """Two templates over the same past articles. Nothing of it is ever posted."""

    __tablename__ = "comparisons"
    __table_args__ = (CheckConstraint(one_of("status", ComparisonStatus), name="comparison_status"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str | None] = mapped_column(String(100))
    template_a: Mapped[UUID] = mapped_column(ForeignKey("prompt_templates.id", ondelete="CASCADE"))
    template_b: Mapped[UUID] = mapped_column(ForeignKey("prompt_templates.id", ondelete="CASCADE"))
    provider_id: Mapped[UUID] = mapped_column(ForeignKey("llm_provider_configurations.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(10), server_default="waiting")
    # Why it stopped before its end.
    error: Mapped[str | None] = mapped_column(Text)


class ComparisonAnswer(Identified, Answered, Claimable, Base):
    """What one of the templates makes of one article. The article's facts are those of the comment they come from."""

    __tablename__ = "comparison_answers"
    __table_args__ = (
        UniqueConstraint("comparison_id", "comment_id", "side", name="one_answer_each"),
        CheckConstraint(one_of("status", AnswerStatus), name="answer_status"),
        CheckConstraint(one_of("side", Side), name="answer_side"),
        Index("answers_in_work", "provider_id", postgresql_where=text("claim_token IS NOT NULL")),
    )

    comparison_id: Mapped[UUID] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    comment_id: Mapped[UUID] = mapped_column(ForeignKey("ai_comments.id", ondelete="CASCADE"), index=True)
    side: Mapped[str] = mapped_column(String(1))
    template_id: Mapped[UUID] = mapped_column(ForeignKey("prompt_templates.id", ondelete="CASCADE"))
    provider_id: Mapped[UUID] = mapped_column(ForeignKey("llm_provider_configurations.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(10), server_default="waiting")
    # What would be posted, had the guard nothing against it.
    comment: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
