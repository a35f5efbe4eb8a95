"""Whose runs are."""

from alembic import op

revision = "run_tracker_0003"
down_revision = "run_tracker_0002"


def upgrade() -> None:
    """Add the owner; runs that are there already are nobody's."""
    op.execute("ALTER TABLE run_tracker.workflow_run ADD COLUMN owner text")
    op.execute("""
        CREATE INDEX workflow_run_of_owner
        ON run_tracker.workflow_run (owner, created_at DESC NULLS LAST, run_id) WHERE owner IS NOT NULL
    """)


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE run_tracker.workflow_run DROP COLUMN owner")
