"""A history as large as years of use make it, written by the database itself in minutes."""

import asyncpg

NODES = 8
WORKFLOWS = 200
OWNERS = 50
WEEKS = 26
LARGEST_SHARE = 0.2  # of all runs, those of one workflow
FAILED_SHARE = 0.02
RARE = "the moon is in the wrong house"  # in the errors of a few runs
TABLES = ("workflow_run", "node_execution", "node_attempt", "late_result")

# While data are made, nothing must survive a crash of the machine.
_QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "'8GB'",
    "maintenance_work_mem": "'256MB'",
}
_GET_INDEXES = """
SELECT index.indexname AS name, index.indexdef AS definition FROM pg_indexes AS index
WHERE schemaname = 'run_tracker' AND tablename = ANY($1::text[]) AND indexname NOT LIKE '%_pkey'
"""
_MAKE_PARTITION = """
CREATE TABLE IF NOT EXISTS run_tracker.{table}_{week:%Y%m%d} PARTITION OF run_tracker.{table}
FOR VALUES FROM ('{week}') TO ('{end}')
"""
# Of all runs, `LARGEST_SHARE` belong to workflow 0; each of the others belongs to any other workflow, all as likely.
_MAKE_RUNS = f"""
CREATE UNLOGGED TABLE run_tracker.generated AS
SELECT gen_random_uuid() AS run_id, number, failed, created_at, workflow,
    date_trunc('week', created_at AT TIME ZONE 'UTC')::date AS week
FROM (
    SELECT number, random() < {FAILED_SHARE} AS failed,
        now() - interval '{WEEKS - 1} weeks' * (1 - number::float8 / $1) AS created_at,
        CASE WHEN random() < {LARGEST_SHARE} THEN 0 ELSE 1 + floor(random() * {WORKFLOWS - 1})::int END AS workflow
    FROM generate_series(1, $1::bigint) AS series (number)
) AS made
"""
_WORKFLOW = "lpad(to_hex(workflow), 32, '0')::uuid"
_PROBLEM = "jsonb_build_object('code', 'llm_failed', 'message', {message})"
_MESSAGE = f"CASE WHEN number % 100000 = 7 THEN '{RARE}' ELSE 'the model said no, for the ' || number || 'th time' END"
_ORDER = "jsonb_build_array(0, -(extract(epoch FROM created_at) * 1000000)::bigint)"
_FILL_PLACES = "INSERT INTO run_tracker.run_week SELECT run_id, week FROM run_tracker.generated"
_FILL_RUNS = f"""
INSERT INTO run_tracker.workflow_run (
    run_id, week, status, rank, workflow_id, workflow_version, workflow_name, trigger_run_id, scope, owner, tags,
    metadata, command, created_at, finished_at, total_nodes, successful_nodes, failed_nodes, skipped_nodes,
    cancelled_nodes, cached_nodes, tokens, cost, result
)
SELECT run_id, week, CASE WHEN failed THEN 'partial' ELSE 'completed' END, 1000000000, {_WORKFLOW}, 1,
    'workflow ' || workflow, 'order-' || number, 'full', 'owner' || workflow % {OWNERS},
    ARRAY['batch-' || number / 1000, CASE WHEN number % 3 = 0 THEN 'night' ELSE 'day' END],
    jsonb_build_object('order', number), jsonb_build_object('graph', repeat('x', 600)),
    created_at, created_at + interval '1 second' * (1 + 9 * random()), {NODES}, {NODES} - failed::int, failed::int, 0,
    0, 0, (1000 * random())::int, random() / 10,
    jsonb_build_object('type', 'record', 'fields', jsonb_build_object(
        'answer', jsonb_build_object('type', 'text', 'text', repeat('y', 200))))
FROM run_tracker.generated
"""
_FILL_NODES = f"""
INSERT INTO run_tracker.node_execution (
    run_id, week, node_id, status, rank, workflow_id, run_created_at, node_type, position, attempt, queued_at, start,
    success, failure
)
SELECT run_id, week, 'node_' || node, CASE WHEN bad THEN 'failed' ELSE 'success' END, 1000000100, {_WORKFLOW},
    created_at, 'llm', node, 1, created_at,
    jsonb_build_object('order', {_ORDER}, 'started_at', created_at, 'worker', 'host:1'),
    CASE WHEN NOT bad THEN jsonb_build_object('order', {_ORDER}, 'finished_at', created_at,
        'output', jsonb_build_object('type', 'text', 'text', repeat('z', 100))) END,
    CASE WHEN bad THEN jsonb_build_object('order', {_ORDER}, 'finished_at', created_at,
        'error', {_PROBLEM.format(message=_MESSAGE)}) END
FROM (
    SELECT *, failed AND node = 5 AS bad FROM run_tracker.generated, generate_series(0, {NODES - 1}) AS series (node)
) AS made
"""
_FILL_ATTEMPTS = """
INSERT INTO run_tracker.node_attempt (run_id, week, node_id, attempt, queued_at, start, success, failure)
SELECT run_id, week, node_id, attempt, queued_at, start, success - 'output', failure FROM run_tracker.node_execution
"""


async def make_history(connection: "asyncpg.Connection[asyncpg.Record]", runs: int) -> None:
    """Fill the empty tables with so many runs of eight nodes, half a year long; statistics are up to date then."""
    await _configure(connection, _QUICK)
    await connection.execute(_MAKE_RUNS.replace("$1", str(runs)))
    await _make_partitions(connection)
    indexes = await connection.fetch(_GET_INDEXES, [*TABLES, "run_week"])
    for index in indexes:
        await connection.execute(f"DROP INDEX run_tracker.{index['name']}")
    for statement in (_FILL_PLACES, _FILL_RUNS, _FILL_NODES, _FILL_ATTEMPTS):
        await connection.execute(statement)
    for index in indexes:
        # PostgreSQL tells of the parents' alone; those of the partitions are to come with them.
        await connection.execute(index["definition"].replace(" ON ONLY ", " ON "))
    await connection.execute("DROP TABLE run_tracker.generated")
    await _configure(connection, dict.fromkeys(_QUICK, "DEFAULT"))
    await connection.execute("VACUUM ANALYZE")


async def _configure(connection: "asyncpg.Connection[asyncpg.Record]", settings: dict[str, str]) -> None:
    for name, value in settings.items():
        await connection.execute(f"ALTER SYSTEM SET {name} = {value}")
    await connection.execute("SELECT pg_reload_conf()")


async def _make_partitions(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    weeks = await connection.fetch("SELECT DISTINCT week, week + 7 AS next FROM run_tracker.generated")
    for row in weeks:
        for table in TABLES:
            await connection.execute(_MAKE_PARTITION.format(table=table, week=row["week"], end=row["next"]))
