"""Workflow definitions, every version of them."""

from alembic import op

revision = "gateway_0001"
down_revision = None


def upgrade() -> None:
    """Create the table; versions count from 1 and are never changed."""
    op.execute("""
        CREATE TABLE gateway.workflow (
            workflow_id uuid NOT NULL,
            version integer NOT NULL,
            name text NOT NULL,
            graph jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workflow_id, version)
        )
    """)


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE gateway.workflow")
