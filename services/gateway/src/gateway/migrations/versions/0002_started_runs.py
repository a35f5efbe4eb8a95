"""Starts that their callers named, so that each is made once."""

from alembic import op

revision = "gateway_0002"
down_revision = "gateway_0001"


def upgrade() -> None:
    """Create the table; `command` is the RunStart that was published, as JSON, and will be published again."""
    op.execute("""
        CREATE TABLE gateway.started_run (
            run_id uuid PRIMARY KEY,
            trigger_run_id text UNIQUE,
            request_digest text NOT NULL,
            command bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX started_run_created_at ON gateway.started_run (created_at)")


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE gateway.started_run")
