"""The ledger of model calls, the permits of providers, and the role that may use them and nothing else."""

from alembic import op

revision = "llm_worker_0001"
down_revision = None

# A user who may not make roles does without: the worker then has that user's rights, and logs it. Roles belong to the
# whole server, so another database may have made it before, or may be making it now.
_MAKE_ROLE = """
DO $$
BEGIN
    CREATE ROLE weft_llm_worker NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE WARNING 'the role weft_llm_worker was not made: %', SQLERRM;
END $$
"""
_LET_USER_TAKE_ROLE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'weft_llm_worker') THEN
        GRANT weft_llm_worker TO CURRENT_USER;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN RAISE WARNING 'the role weft_llm_worker is not granted: %', SQLERRM;
END $$
"""
_GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'weft_llm_worker') THEN
        GRANT USAGE ON SCHEMA llm_worker TO weft_llm_worker;
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON llm_worker.call, llm_worker.permit, llm_worker.provider TO weft_llm_worker;
        GRANT USAGE ON SEQUENCE llm_worker.worker_id TO weft_llm_worker;
    END IF;
END $$
"""


def upgrade() -> None:
    """Create the tables, and the role where the user may."""
    _create_ledger()
    _create_limits()
    for statement in (_MAKE_ROLE, _LET_USER_TAKE_ROLE, _GRANT):
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables; the role stays, since other databases of the server may use it."""
    op.execute("DROP TABLE llm_worker.call, llm_worker.permit, llm_worker.provider")
    op.execute("DROP SEQUENCE llm_worker.worker_id")
    op.execute("""
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'weft_llm_worker') THEN
                REVOKE ALL ON SCHEMA llm_worker FROM weft_llm_worker;
            END IF;
        END $$
    """)


def _create_ledger() -> None:
    """Create the table of calls: a row for each, from before it is made."""
    op.execute("""
        CREATE TABLE llm_worker.call (
            call_id uuid PRIMARY KEY,
            run_id uuid NOT NULL,
            node_id text NOT NULL,
            attempt integer NOT NULL,
            number integer NOT NULL,
            workflow_id uuid,
            provider text NOT NULL,
            model text NOT NULL,
            answered_by text,
            worker integer NOT NULL,
            worker_name text NOT NULL,
            status text NOT NULL DEFAULT 'started'
                CHECK (status IN ('started', 'succeeded', 'failed', 'unknown')),
            error_code text,
            started_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            input_tokens bigint,
            cached_tokens bigint,
            output_tokens bigint,
            cost numeric,
            price jsonb,
            reply json,
            error json
        )
    """)
    # Of one call at most one is under way, whoever makes it.
    op.execute("""
        CREATE UNIQUE INDEX call_under_way ON llm_worker.call (run_id, node_id, attempt, number)
        WHERE status = 'started'
    """)
    op.execute("CREATE INDEX call_of_attempt ON llm_worker.call (run_id, node_id, attempt, number)")
    op.execute("CREATE INDEX call_started_at ON llm_worker.call (started_at)")
    op.execute("CREATE INDEX call_with_reply ON llm_worker.call (started_at) WHERE reply IS NOT NULL")


def _create_limits() -> None:
    """Create what workers share of the limits of providers.

    `requests` and `tokens` are the states of rate limiters; a permit is a call that may be under way.
    """
    op.execute("CREATE SEQUENCE llm_worker.worker_id AS integer")
    op.execute("""
        CREATE TABLE llm_worker.provider (
            provider text PRIMARY KEY,
            requests bigint NOT NULL DEFAULT 0,
            tokens bigint NOT NULL DEFAULT 0
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE TABLE llm_worker.permit (
            permit_id uuid PRIMARY KEY,
            provider text NOT NULL,
            worker integer NOT NULL
        )
    """)
    op.execute("CREATE INDEX permit_of_provider ON llm_worker.permit (provider)")
