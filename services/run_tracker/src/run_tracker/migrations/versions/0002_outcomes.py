"""How runs were asked for, what they cost, every outcome of an attempt by itself, late results."""

from alembic import op

revision = "run_tracker_0002"
down_revision = "run_tracker_0001"


def upgrade() -> None:
    """Add what is new of runs, and tell the outcomes of nodes apart; what is recorded is kept."""
    _extend_runs()
    _replace_outcome_by_facts()
    # A result may come late more than once: its job may have been with several workers.
    op.execute("""
        CREATE TABLE run_tracker.late_result (
            run_id uuid,
            node_id text,
            attempt integer,
            outcome text,
            at timestamptz,
            usage jsonb,
            PRIMARY KEY (run_id, node_id, attempt, outcome, at)
        )
    """)


def downgrade() -> None:
    """Undo it, keeping of nodes what their status chooses."""
    op.execute("DROP TABLE run_tracker.late_result")
    _replace_facts_by_outcome()
    op.execute("DROP INDEX run_tracker.workflow_run_newest, run_tracker.workflow_run_created_at")
    op.execute("CREATE INDEX workflow_run_newest ON run_tracker.workflow_run (workflow_id, created_at DESC)")
    op.execute("CREATE INDEX workflow_run_created_at ON run_tracker.workflow_run (created_at DESC)")
    op.execute("""
        ALTER TABLE run_tracker.workflow_run
            DROP COLUMN resumed_from, DROP COLUMN scope, DROP COLUMN command,
            DROP COLUMN cached_nodes, DROP COLUMN tokens, DROP COLUMN cost
    """)


def _extend_runs() -> None:
    op.execute("""
        ALTER TABLE run_tracker.workflow_run
            ADD COLUMN resumed_from uuid,
            ADD COLUMN scope text,
            ADD COLUMN command jsonb,
            ADD COLUMN cached_nodes integer,
            ADD COLUMN tokens bigint,
            ADD COLUMN cost double precision
    """)
    # In the order of the lists, so that these are read from the index.
    op.execute("DROP INDEX run_tracker.workflow_run_newest, run_tracker.workflow_run_created_at")
    op.execute("""
        CREATE INDEX workflow_run_newest
        ON run_tracker.workflow_run (workflow_id, created_at DESC NULLS LAST, run_id)
    """)
    op.execute("""
        CREATE INDEX workflow_run_created_at ON run_tracker.workflow_run (created_at DESC NULLS LAST, run_id)
    """)


def _replace_outcome_by_facts() -> None:
    op.execute("""
        ALTER TABLE run_tracker.node_execution
            ADD COLUMN workflow_id uuid,
            ADD COLUMN run_created_at timestamptz,
            ADD COLUMN start jsonb,
            ADD COLUMN success jsonb,
            ADD COLUMN failure jsonb,
            ADD COLUMN retry jsonb,
            ADD COLUMN ended_at timestamptz
    """)
    op.execute("SET LOCAL TIME ZONE 'UTC'")
    op.execute(_FACTS_FROM_OUTCOME)
    op.execute("""
        UPDATE run_tracker.node_execution AS node
        SET workflow_id = run.workflow_id, run_created_at = run.created_at
        FROM run_tracker.workflow_run AS run WHERE run.run_id = node.run_id
    """)
    op.execute("""
        ALTER TABLE run_tracker.node_execution
            DROP COLUMN started_at, DROP COLUMN retry_at, DROP COLUMN finished_at, DROP COLUMN seconds,
            DROP COLUMN worker, DROP COLUMN output, DROP COLUMN error, DROP COLUMN usage
    """)
    # For the newest output of a node in any run of its workflow. Its condition is met once in the life of a row, so
    # that most updates need not touch the index.
    op.execute("""
        CREATE INDEX node_execution_newest_output
        ON run_tracker.node_execution (workflow_id, node_id, run_created_at DESC, run_id)
        WHERE workflow_id IS NOT NULL AND success IS NOT NULL
    """)


def _replace_facts_by_outcome() -> None:
    op.execute("""
        ALTER TABLE run_tracker.node_execution
            ADD COLUMN started_at timestamptz,
            ADD COLUMN retry_at timestamptz,
            ADD COLUMN finished_at timestamptz,
            ADD COLUMN seconds double precision,
            ADD COLUMN worker text,
            ADD COLUMN output jsonb,
            ADD COLUMN error jsonb,
            ADD COLUMN usage jsonb
    """)
    op.execute(_OUTCOME_FROM_FACTS)
    op.execute("""
        ALTER TABLE run_tracker.node_execution
            DROP COLUMN workflow_id, DROP COLUMN run_created_at, DROP COLUMN start, DROP COLUMN success,
            DROP COLUMN failure, DROP COLUMN retry, DROP COLUMN ended_at
    """)


# `order` as in `run_tracker.domain.records`: microseconds since 1970, negative where the earliest stays.
_FACTS_FROM_OUTCOME = """
UPDATE run_tracker.node_execution AS node SET
    start = CASE WHEN started_at IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
        'order', jsonb_build_array(1, (extract(epoch FROM started_at) * 1000000)::bigint),
        'started_at', started_at, 'worker', worker
    )) END,
    success = CASE WHEN status = 'success' AND output IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
        'order', jsonb_build_array(0, -(extract(epoch FROM ended.at) * 1000000)::bigint),
        'finished_at', ended.at, 'output', output, 'seconds', seconds, 'usage', usage
    )) END,
    failure = CASE
        WHEN error IS NOT NULL AND (status = 'failed' OR status = 'retrying' AND retry_at IS NULL)
        THEN jsonb_strip_nulls(jsonb_build_object(
            'order', jsonb_build_array((status = 'failed')::int, -(extract(epoch FROM ended.at) * 1000000)::bigint),
            'finished_at', ended.at, 'error', error, 'retryable', status = 'retrying', 'seconds', seconds
        ))
    END,
    retry = CASE WHEN error IS NOT NULL AND status = 'retrying' AND retry_at IS NOT NULL THEN jsonb_build_object(
        'order', jsonb_build_array(0, 0), 'error', error, 'retry_at', retry_at
    ) END,
    ended_at = CASE WHEN status IN ('skipped', 'cancelled') THEN finished_at END
FROM (
    SELECT run_id, node_id, coalesce(finished_at, started_at, queued_at, now()) AS at FROM run_tracker.node_execution
) AS ended
WHERE ended.run_id = node.run_id AND ended.node_id = node.node_id
"""

_OUTCOME_FROM_FACTS = """
UPDATE run_tracker.node_execution AS node SET
    started_at = (start->>'started_at')::timestamptz,
    worker = start->>'worker',
    retry_at = (fact->>'retry_at')::timestamptz,
    finished_at = CASE WHEN status <> 'retrying' THEN coalesce((fact->>'finished_at')::timestamptz, ended_at) END,
    seconds = (fact->>'seconds')::double precision,
    output = fact->'output',
    error = fact->'error',
    usage = fact->'usage'
FROM (
    SELECT run_id, node_id, CASE status
        WHEN 'success' THEN success WHEN 'failed' THEN failure WHEN 'retrying' THEN coalesce(retry, failure)
    END AS fact
    FROM run_tracker.node_execution
) AS chosen
WHERE chosen.run_id = node.run_id AND chosen.node_id = node.node_id
"""
