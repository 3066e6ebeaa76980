"""Which comments a list shows, found without reading those that it does not show."""

from dataclasses import dataclass
from typing import Literal, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, true, union_all

from lib.monitoring.models import AIComment, MonitoringProcess
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store.scope import seen

ApprovalFilter = Literal["approved", "rejected", "none"]


@dataclass(frozen=True)
class Wanted:
    """Which comments to list; None is any. An approval of `none` finds what nobody has decided on."""

    process_id: UUID | None = None
    status: CommentStatus | None = None
    approval: ApprovalFilter | None = None


def chosen(
    sees: UUID | None, wanted: Wanted, limit: int, *, newest_first: bool = True, beyond: UUID | None = None
) -> Select[tuple[UUID]]:
    """The ids of the first `limit`, from behind `beyond` on.

    A look at the index for each process and status: it ends after `limit` of them, however many comments there are.
    """
    process = select(MonitoringProcess.id).where(seen(MonitoringProcess.user_id, sees))
    if wanted.process_id is not None:
        process = process.where(MonitoringProcess.id == wanted.process_id)
    of = process.subquery("of")
    each = []
    for status in get_args(CommentStatus) if wanted.status is None else (wanted.status,):
        mine = select(AIComment.id).where(AIComment.monitoring_process_id == of.c.id, AIComment.status == status)
        if wanted.approval is not None:
            mine = mine.where(approved(wanted.approval))
        if beyond is not None:
            mine = mine.where(AIComment.id < beyond if newest_first else AIComment.id > beyond)
        ordered = mine.order_by(AIComment.id.desc() if newest_first else AIComment.id).limit(limit)
        some = ordered.correlate(of).lateral()
        each.append(select(some.c.id).select_from(of.join(some, true())))
    found = union_all(*each).subquery() if len(each) > 1 else each[0].subquery()
    return select(found.c.id).order_by(found.c.id.desc() if newest_first else found.c.id).limit(limit)


def approved(approval: ApprovalFilter) -> ColumnElement[bool]:
    return AIComment.approval.is_(None) if approval == "none" else AIComment.approval == approval
