"""API keys and what they are limited to; whose workflows and starts are."""

from alembic import op

revision = "gateway_0003"
down_revision = "gateway_0002"


def upgrade() -> None:
    """Make the tables of keys; what is there already belongs to the owner `local`."""
    _create_keys()
    _create_uses()
    # Each owner has ids and names of their own: nobody learns from a conflict what others have.
    op.execute("""
        ALTER TABLE gateway.workflow
            ADD COLUMN owner text NOT NULL DEFAULT 'local',
            DROP CONSTRAINT workflow_pkey,
            ADD PRIMARY KEY (workflow_id, owner, version)
    """)
    op.execute("ALTER TABLE gateway.workflow ALTER COLUMN owner DROP DEFAULT")
    op.execute("CREATE INDEX workflow_of_owner ON gateway.workflow (owner, workflow_id, version DESC)")
    op.execute("""
        ALTER TABLE gateway.started_run
            ADD COLUMN owner text NOT NULL DEFAULT 'local',
            DROP CONSTRAINT started_run_trigger_run_id_key,
            ADD UNIQUE (owner, trigger_run_id)
    """)
    op.execute("ALTER TABLE gateway.started_run ALTER COLUMN owner DROP DEFAULT")


def downgrade() -> None:
    """Drop the keys; of what two owners have under one name, one is kept."""
    op.execute("""
        DELETE FROM gateway.workflow AS one USING gateway.workflow AS other
        WHERE one.workflow_id = other.workflow_id AND one.owner > other.owner
    """)
    op.execute("""
        ALTER TABLE gateway.workflow
            DROP CONSTRAINT workflow_pkey, DROP COLUMN owner, ADD PRIMARY KEY (workflow_id, version)
    """)
    op.execute("""
        DELETE FROM gateway.started_run AS one USING gateway.started_run AS other
        WHERE one.trigger_run_id = other.trigger_run_id AND one.owner > other.owner
    """)
    op.execute("ALTER TABLE gateway.started_run DROP COLUMN owner, ADD UNIQUE (trigger_run_id)")
    op.execute("DROP TABLE gateway.key_run, gateway.request_rate, gateway.api_key")


def _create_keys() -> None:
    """Create the table of keys; `digest` is the SHA-256 of a key, the initial one comes from a setting."""
    op.execute("""
        CREATE TABLE gateway.api_key (
            key_id uuid PRIMARY KEY,
            name text NOT NULL,
            digest bytea NOT NULL UNIQUE,
            owner text NOT NULL,
            scopes text[] NOT NULL,
            requests_per_minute integer,
            concurrent_runs integer,
            daily_budget double precision,
            is_initial boolean NOT NULL DEFAULT false,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz
        )
    """)
    op.execute("CREATE UNIQUE INDEX api_key_initial ON gateway.api_key (is_initial) WHERE is_initial")
    op.execute("CREATE INDEX api_key_newest ON gateway.api_key (created_at DESC, key_id)")


def _create_uses() -> None:
    op.execute("""
        CREATE TABLE gateway.request_rate (
            key_id uuid PRIMARY KEY REFERENCES gateway.api_key ON DELETE CASCADE,
            whole_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE gateway.key_run (
            run_id uuid PRIMARY KEY,
            key_id uuid NOT NULL REFERENCES gateway.api_key ON DELETE CASCADE,
            started_at timestamptz NOT NULL DEFAULT now(),
            ended boolean NOT NULL DEFAULT false,
            cost double precision NOT NULL DEFAULT 0
        )
    """)
    op.execute("CREATE INDEX key_run_of_key ON gateway.key_run (key_id, started_at)")
    op.execute("CREATE INDEX key_run_open ON gateway.key_run (key_id) WHERE NOT ended")
