"""a claim writes fewer indexes: what every claim sets is in none, and a page has room for the row's next version"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("ai_comments", "alerts", "comparison_answers", "monitoring_process_stages", "mymoment_logins")
# What nobody was asked for yet: from now on the first claim says who is asked.
UNASKED = """UPDATE ai_comments SET llm_provider_id = NULL
WHERE coalesce(failed_from, status) = 'discovered'
OR (status = 'prepared' AND attempts = 0 AND next_attempt_at IS NULL)"""


def upgrade() -> None:
    op.execute(UNASKED)
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_claim_token"), table_name=table)
    op.execute("ALTER TABLE ai_comments SET (fillfactor = 80)")
    # The calls at work of a provider, which the tokens' index found. With a second column PostgreSQL would expect its
    # rows all over the table, and rather read all that the provider ever wrote.
    op.create_index(
        "comments_asked_for",
        "ai_comments",
        ["llm_provider_id"],
        unique=False,
        postgresql_where=sa.text("status = 'prepared' AND llm_provider_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("comments_asked_for", table_name="ai_comments")
    op.execute("ALTER TABLE ai_comments RESET (fillfactor)")
    for table in TABLES:
        op.create_index(op.f(f"ix_{table}_claim_token"), table, ["claim_token"], unique=False)
