"""Runs and node executions."""

from alembic import op

revision = "run_tracker_0001"
down_revision = None


def upgrade() -> None:
    """Create both tables.

    A node execution may be told of before its run (events come in any order), so there is no foreign key.
    """
    op.execute("""
        CREATE TABLE run_tracker.workflow_run (
            run_id uuid PRIMARY KEY,
            status text NOT NULL,
            rank integer NOT NULL,
            workflow_id uuid,
            workflow_version integer,
            workflow_name text,
            trigger_run_id text,
            created_at timestamptz,
            finished_at timestamptz,
            total_nodes integer,
            successful_nodes integer,
            failed_nodes integer,
            skipped_nodes integer,
            cancelled_nodes integer,
            result jsonb,
            problems jsonb
        )
    """)
    op.execute("CREATE INDEX workflow_run_newest ON run_tracker.workflow_run (workflow_id, created_at DESC)")
    op.execute("CREATE INDEX workflow_run_created_at ON run_tracker.workflow_run (created_at DESC)")
    op.execute("""
        CREATE TABLE run_tracker.node_execution (
            run_id uuid NOT NULL,
            node_id text NOT NULL,
            status text NOT NULL,
            rank integer NOT NULL,
            node_type text,
            name text,
            position integer,
            attempt integer,
            queued_at timestamptz,
            started_at timestamptz,
            retry_at timestamptz,
            finished_at timestamptz,
            seconds double precision,
            worker text,
            output jsonb,
            error jsonb,
            usage jsonb,
            PRIMARY KEY (run_id, node_id)
        )
    """)


def downgrade() -> None:
    """Drop both tables."""
    op.execute("DROP TABLE run_tracker.workflow_run, run_tracker.node_execution")
