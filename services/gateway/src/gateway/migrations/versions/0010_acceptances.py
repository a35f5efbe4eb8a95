"""What gateways tell each other of runs that the run tracker does not know: accepted a moment ago, or refused."""

from alembic import op

revision = "gateway_0010"
down_revision = "gateway_0003"


def upgrade() -> None:
    """Create both tables; `view` is a RunView as JSON, `problem` a Problem."""
    op.execute("""
        CREATE TABLE gateway.accepted_run (
            run_id uuid PRIMARY KEY,
            view jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE gateway.refused_run (
            run_id uuid PRIMARY KEY,
            problem jsonb NOT NULL,
            refused_at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    for table in ("accepted_run", "refused_run"):
        op.execute(f"CREATE INDEX {table}_created_at ON gateway.{table} (created_at)")


def downgrade() -> None:
    """Drop both tables."""
    op.execute("DROP TABLE gateway.accepted_run, gateway.refused_run")
