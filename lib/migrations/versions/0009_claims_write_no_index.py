"""a claim writes no index: what it sets is in none, and a page has room for the row's next version"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("ai_comments", "alerts", "comparison_answers", "monitoring_process_stages", "mymoment_logins")


def upgrade() -> None:
    # What the index of tokens told quickly: the calls at work of a provider.
    op.create_index(
        "comments_asked_for",
        "ai_comments",
        ["llm_provider_id"],
        unique=False,
        postgresql_where=sa.text("status = 'prepared' AND llm_provider_id IS NOT NULL"),
    )
    op.execute("UPDATE ai_comments SET llm_provider_id = NULL WHERE status = 'discovered'")
    op.execute("UPDATE ai_comments SET llm_provider_id = NULL WHERE status = 'prepared' AND attempts = 0")
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_claim_token"), table_name=table)
    op.execute("ALTER TABLE ai_comments SET (fillfactor = 80)")


def downgrade() -> None:
    op.execute("ALTER TABLE ai_comments RESET (fillfactor)")
    op.drop_index("comments_asked_for", table_name="ai_comments")
    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_claim_token"), table, ["claim_token"], unique=False)
