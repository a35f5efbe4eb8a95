"""Tables partitioned by the week in which a run was first heard of; every attempt; tags and metadata."""

from alembic import op

revision = "run_tracker_0004"
down_revision = "run_tracker_0003"

_KEYS = {
    "workflow_run": "run_id",
    "node_execution": "run_id, node_id",
    "late_result": "run_id, node_id, attempt, outcome, at",
}
_ATTEMPT_KEY = "run_id, node_id, attempt"
_WEEKS_AHEAD = 4


def upgrade() -> None:
    """Bring what is recorded into partitions, by the weeks in which its runs were created."""
    op.execute("CREATE TABLE run_tracker.run_week (run_id uuid PRIMARY KEY, week date NOT NULL)")
    op.execute(_FIND_WEEKS)
    op.execute("CREATE INDEX run_week_week ON run_tracker.run_week (week)")
    op.execute("""
        CREATE TABLE run_tracker.node_attempt (
            run_id uuid NOT NULL,
            node_id text NOT NULL,
            attempt integer NOT NULL,
            queued_at timestamptz,
            start jsonb,
            success jsonb,
            failure jsonb,
            given_up jsonb
        )
    """)
    op.execute(_ATTEMPTS_FROM_NODES)
    for table, key in {**_KEYS, "node_attempt": _ATTEMPT_KEY}.items():
        _partition(table, key)
    op.execute("ALTER TABLE run_tracker.workflow_run ADD COLUMN tags text[], ADD COLUMN metadata jsonb")
    for index in _INDEXES:
        op.execute(f"CREATE INDEX {index}")


def downgrade() -> None:
    """Undo it; of each node its latest attempt stays."""
    op.execute("DROP TABLE run_tracker.node_attempt")
    for table, key in _KEYS.items():
        _unite(table, key)
    op.execute("DROP TABLE run_tracker.run_week")
    op.execute("ALTER TABLE run_tracker.workflow_run DROP COLUMN tags, DROP COLUMN metadata")
    for index in _FORMER_INDEXES:
        op.execute(f"CREATE INDEX {index}")


def _partition(table: str, key: str) -> None:
    op.execute(f"ALTER TABLE run_tracker.{table} RENAME TO former")
    op.execute(f"""
        CREATE TABLE run_tracker.{table} (LIKE run_tracker.former INCLUDING DEFAULTS, week date NOT NULL)
        PARTITION BY RANGE (week)
    """)
    op.execute(f"CREATE TABLE run_tracker.{table}_default PARTITION OF run_tracker.{table} DEFAULT")
    op.execute(_MAKE_PARTITIONS.format(table=table, ahead=_WEEKS_AHEAD))
    op.execute(f"""
        INSERT INTO run_tracker.{table}
        SELECT former.*, place.week
        FROM run_tracker.former JOIN run_tracker.run_week AS place ON place.run_id = former.run_id
    """)  # noqa: S608 -- names are made here
    op.execute("DROP TABLE run_tracker.former")
    op.execute(f"ALTER TABLE run_tracker.{table} ADD PRIMARY KEY ({key}, week)")


def _unite(table: str, key: str) -> None:
    op.execute(f"CREATE TABLE run_tracker.united (LIKE run_tracker.{table} INCLUDING DEFAULTS)")
    op.execute(f"INSERT INTO run_tracker.united SELECT * FROM run_tracker.{table}")  # noqa: S608 -- names are made here
    op.execute(f"DROP TABLE run_tracker.{table}")
    op.execute(f"ALTER TABLE run_tracker.united RENAME TO {table}")
    op.execute(f"ALTER TABLE run_tracker.{table} DROP COLUMN week, ADD PRIMARY KEY ({key})")


_FIND_WEEKS = """
INSERT INTO run_tracker.run_week (run_id, week)
SELECT run_id, date_trunc('week', coalesce(min(at), now()) AT TIME ZONE 'UTC')::date
FROM (
    SELECT run_id, created_at AS at FROM run_tracker.workflow_run
    UNION ALL SELECT run_id, run_created_at FROM run_tracker.node_execution
    UNION ALL SELECT run_id, NULL FROM run_tracker.late_result
) AS told
GROUP BY run_id
"""
_ATTEMPTS_FROM_NODES = """
INSERT INTO run_tracker.node_attempt (run_id, node_id, attempt, queued_at, start, success, failure, given_up)
SELECT run_id, node_id, attempt, queued_at, start, success - ARRAY['output', 'cached', 'warnings'], failure,
    CASE WHEN retry IS NOT NULL THEN jsonb_build_object(
        'order', retry->'order',
        'finished_at', coalesce(failure->'finished_at', retry->'retry_at'),
        'error', retry->'error'
    ) END
FROM run_tracker.node_execution
WHERE attempt IS NOT NULL AND (queued_at IS NOT NULL OR start IS NOT NULL)
"""
_MAKE_PARTITIONS = """
DO $$
DECLARE week date;
BEGIN
    FOR week IN
        SELECT run_week.week FROM run_tracker.run_week
        UNION SELECT date_trunc('week', now() AT TIME ZONE 'UTC')::date + 7 * ahead
        FROM generate_series(0, {ahead}) AS series (ahead)
    LOOP
        EXECUTE format(
            'CREATE TABLE run_tracker.%I PARTITION OF run_tracker.{table} FOR VALUES FROM (%L) TO (%L)',
            '{table}_' || to_char(week, 'YYYYMMDD'), week, week + 7
        );
    END LOOP;
END
$$
"""
# In the order of the lists; an unusual run is found among however many that were completed.
_INDEXES = (
    "workflow_run_newest ON run_tracker.workflow_run (workflow_id, created_at, run_id)",
    "workflow_run_created_at ON run_tracker.workflow_run (created_at, run_id)",
    "workflow_run_of_owner ON run_tracker.workflow_run (owner, created_at, run_id) WHERE owner IS NOT NULL",
    "workflow_run_unusual ON run_tracker.workflow_run (created_at, run_id) WHERE status <> 'completed'",
    (
        "workflow_run_unusual_newest ON run_tracker.workflow_run (workflow_id, created_at, run_id)"
        " WHERE status <> 'completed'"
    ),
    "workflow_run_trigger ON run_tracker.workflow_run (trigger_run_id) WHERE trigger_run_id IS NOT NULL",
    "workflow_run_tags ON run_tracker.workflow_run USING gin (tags)",
    (
        "node_execution_newest_output ON run_tracker.node_execution (workflow_id, node_id, run_created_at DESC, run_id)"
        " WHERE workflow_id IS NOT NULL AND success IS NOT NULL"
    ),
)
_FORMER_INDEXES = (
    "workflow_run_newest ON run_tracker.workflow_run (workflow_id, created_at DESC NULLS LAST, run_id)",
    "workflow_run_created_at ON run_tracker.workflow_run (created_at DESC NULLS LAST, run_id)",
    (
        "workflow_run_of_owner ON run_tracker.workflow_run (owner, created_at DESC NULLS LAST, run_id)"
        " WHERE owner IS NOT NULL"
    ),
    (
        "node_execution_newest_output ON run_tracker.node_execution (workflow_id, node_id, run_created_at DESC, run_id)"
        " WHERE workflow_id IS NOT NULL AND success IS NOT NULL"
    ),
)
