"""The tables of the alerts: what was found, each attempt to tell it, and where nobody listens any more."""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, DateTime, ForeignKey, Index, Integer, String, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from lib.alerts.causes import KINDS, SUBJECT_CHARS
from lib.work import Base, Claimable, new_id

# recorded: it is only to be seen here; pending: it is to be sent.
AlertStatus = Literal["recorded", "pending", "delivered", "dead"]


def _one_of(column: str, values: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


class Alert(Claimable, Base):
    """One cause, from when it was first seen until it is over; its id is the webhook-id of every attempt."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint(_one_of("kind", KINDS), name="alert_kind"),
        CheckConstraint(_one_of("status", get_args(AlertStatus)), name="alert_status"),
        CheckConstraint("status <> 'dead' OR error_message IS NOT NULL", name="dead_alert_has_reason"),
        Index(
            "one_open_alert_a_cause",
            "kind",
            "subject",
            "episode",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("alerts_to_send", "id", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(SUBJECT_CHARS))
    episode: Mapped[str] = mapped_column(String(100), server_default="")
    # As it was first seen: what is sent must be the same at each attempt.
    title: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    seen_count: Mapped[int] = mapped_column(Integer, server_default="1")
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    status: Mapped[str] = mapped_column(String(20))
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    error_message: Mapped[str | None] = mapped_column(Text)


class AlertAttempt(Base):
    """One attempt to send an alert, written before it begins: without an outcome its worker died."""

    __tablename__ = "alert_attempts"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), index=True)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    http_status: Mapped[int | None] = mapped_column(Integer)
    error_message: Mapped[str | None] = mapped_column(Text)


class StoppedEndpoint(Base):
    """A webhook that answered 410. Only its digest is kept: an address may hold a secret."""

    __tablename__ = "alert_stopped_endpoints"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    stopped_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    reason: Mapped[str] = mapped_column(Text)
