"""Open runs are found at once, however many have ended."""

from alembic import op

revision = "run_tracker_0005"
down_revision = "run_tracker_0004"


def upgrade() -> None:
    """Add an index that only open runs are in; its condition is met once in the life of a run."""
    op.execute("""
        CREATE INDEX workflow_run_open ON run_tracker.workflow_run (created_at, run_id)
        WHERE status IN ('queued', 'running')
    """)


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP INDEX run_tracker.workflow_run_open")
