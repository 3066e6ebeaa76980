"""an index of the comments that wait, which stays small"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index(
        "comments_waiting",
        "ai_comments",
        ["status", "monitoring_process_id", "id", "mymoment_login_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('discovered', 'prepared', 'generated')"),
    )


def downgrade() -> None:
    op.drop_index("comments_waiting", table_name="ai_comments")
