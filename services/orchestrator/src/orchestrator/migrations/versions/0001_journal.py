"""The journal, and a row per run that is its lock and its tombstone."""

from alembic import op

revision = "orchestrator_0001"
down_revision = None


def upgrade() -> None:
    """Create both tables."""
    op.execute("""
        CREATE TABLE orchestrator.run (
            run_id uuid PRIMARY KEY,
            created_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz
        )
    """)
    op.execute("CREATE INDEX run_unfinished ON orchestrator.run (run_id) WHERE finished_at IS NULL")
    op.execute("CREATE INDEX run_finished_at ON orchestrator.run (finished_at) WHERE finished_at IS NOT NULL")
    op.execute("""
        CREATE TABLE orchestrator.journal (
            run_id uuid NOT NULL REFERENCES orchestrator.run,
            seq integer NOT NULL,
            event jsonb NOT NULL,
            PRIMARY KEY (run_id, seq)
        )
    """)


def downgrade() -> None:
    """Drop both tables."""
    op.execute("DROP TABLE orchestrator.journal, orchestrator.run")
