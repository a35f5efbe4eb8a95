"""Workflows that are found no more, though their runs are."""

from alembic import op

revision = "gateway_0011"
down_revision = "gateway_0010"


def upgrade() -> None:
    """Add when a workflow was deleted; it is the same in all its versions."""
    op.execute("ALTER TABLE gateway.workflow ADD COLUMN deleted_at timestamptz")


def downgrade() -> None:
    """Forget it: deleted workflows are found again."""
    op.execute("ALTER TABLE gateway.workflow DROP COLUMN deleted_at")
