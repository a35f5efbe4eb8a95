"""Concurrency limits of runs, the owners of trigger ids, outputs that may be reused."""

from alembic import op

revision = "orchestrator_0002"
down_revision = "orchestrator_0001"


def upgrade() -> None:
    """Add what runs wait for, and two tables."""
    op.execute("""
        ALTER TABLE orchestrator.run
            ADD COLUMN arrival bigint GENERATED ALWAYS AS IDENTITY,
            ADD COLUMN concurrency_key text,
            ADD COLUMN concurrency_limit integer,
            ADD COLUMN admitted_at timestamptz
    """)
    # Unlike jsonb, json keeps the order of an object's keys, and a replay must find the very same events.
    op.execute("ALTER TABLE orchestrator.journal ALTER COLUMN event TYPE json USING event::json")
    op.execute("""
        CREATE INDEX run_concurrency ON orchestrator.run (concurrency_key, arrival)
        WHERE concurrency_key IS NOT NULL AND finished_at IS NULL
    """)
    op.execute("""
        CREATE TABLE orchestrator.trigger (
            trigger_run_id text PRIMARY KEY,
            run_id uuid NOT NULL,
            digest text NOT NULL
        )
    """)
    op.execute("CREATE INDEX trigger_run_id ON orchestrator.trigger (run_id)")
    op.execute("""
        CREATE TABLE orchestrator.cache (
            key text PRIMARY KEY,
            output jsonb NOT NULL,
            bytes integer NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            last_used_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("CREATE INDEX cache_last_used_at ON orchestrator.cache (last_used_at)")


def downgrade() -> None:
    """Remove them again."""
    op.execute("DROP TABLE orchestrator.cache, orchestrator.trigger")
    op.execute("ALTER TABLE orchestrator.journal ALTER COLUMN event TYPE jsonb USING event::jsonb")
    op.execute("""
        ALTER TABLE orchestrator.run
            DROP COLUMN arrival, DROP COLUMN concurrency_key, DROP COLUMN concurrency_limit, DROP COLUMN admitted_at
    """)
