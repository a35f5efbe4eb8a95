"""The peers, each set up as its documentation recommends for speed where nothing may be lost.

Each has two processes that do jobs, like Weft: on the two cores that this is made for, more would only take turns.
"""

from functools import partial

from benchmarks.peers.driven import Peer
from benchmarks.peers.environments import own_environment

BARE = Peer(
    name="bare",
    client="benchmarks.peers.bare",
    workers={
        "coordinator": ["-m", "benchmarks.peers.bare", "coordinator"],
        "worker 1": ["-m", "benchmarks.peers.bare", "worker"],
        "worker 2": ["-m", "benchmarks.peers.bare", "worker"],
    },
    packages=("aio-pika",),
    setup=(
        "the floor: a start, a job and a result for each node that a worker does, and an end, over quorum queues,"
        " persistent, confirmed, acknowledged after what follows is confirmed; a coordinator that counts in memory what"
        " came back; two workers, 64 jobs in hand each; no events, no journal, no history"
    ),
    shapes=("sample", "wide", "chain"),
)
CELERY = Peer(
    name="Celery",
    client="benchmarks.peers.celery",
    workers={"worker": ["-m", "benchmarks.peers.celery", "worker"]},
    packages=("celery", "kombu", "redis"),
    setup=(
        "canvas (a chord); prefork with two processes, `worker_prefetch_multiplier` 64, `task_acks_late`,"
        " `task_reject_on_worker_lost`, publisher confirms; durable classic queue, its default; results and chords in"
        " Redis; no events, gossip, mingle or heartbeats; results of uploads and crops are not kept"
    ),
    shapes=("sample", "wide", "chain"),
)
DBOS = Peer(
    name="DBOS",
    client="benchmarks.peers.dbos",
    workers={
        "worker 1": ["-m", "benchmarks.peers.dbos", "worker", "1"],
        "worker 2": ["-m", "benchmarks.peers.dbos", "worker", "2"],
    },
    packages=("dbos",),
    setup=(
        "an async workflow, each node a step, side by side with `asyncio.gather`; batches through a queue to two"
        " processes (`worker_concurrency` 64, polled every 0.1 s instead of every second); a single run is started in"
        " the client's own process, without the queue; a database of its own on the same PostgreSQL"
    ),
)
TASKIQ = Peer(
    name="Taskiq",
    client="benchmarks.peers.taskiq",
    workers={
        "worker": [
            "-m",
            "taskiq",
            "worker",
            "benchmarks.peers.taskiq:create_broker",
            "--workers",
            "2",
            "--log-level",
            "WARNING",
        ]
    },
    packages=("taskiq", "taskiq-aio-pika", "taskiq-redis"),
    setup=(
        "no workflows: each task sends the next, the join is counted in Redis; taskiq-aio-pika with its defaults"
        " (quorum queue, confirms), acknowledged when the result is saved (`when_saved`), prefetch 64, two processes;"
        " results in Redis, looked for every 5 ms"
    ),
)
DRAMATIQ = Peer(
    name="Dramatiq",
    client="benchmarks.peers.dramatiq",
    workers={"worker": ["-m", "dramatiq", "benchmarks.peers.dramatiq:create_broker", "--processes", "2"]},
    packages=("dramatiq", "pika"),
    setup=(
        "an actor that starts a group of pipelines with a completion callback; `confirm_delivery`, two processes of"
        " eight threads, its default; durable classic queue; group counts and the callback's result in Redis; the"
        " callback is given no results"
    ),
)
PREFECT = Peer(
    name="Prefect",
    client="benchmarks.peers.prefect",
    workers={
        "server": ["-m", "benchmarks.peers.prefect", "server"],
        "worker 1": ["-m", "benchmarks.peers.prefect", "worker"],
        "worker 2": ["-m", "benchmarks.peers.prefect", "worker"],
    },
    packages=("prefect",),
    setup=(
        "a background task (`delay`) whose nodes are async tasks, on two task workers (`serve`); one server with"
        " SQLite, its default (on PostgreSQL it needs `pg_trgm`, which the one here lacks); no logs to the server;"
        " a fiftieth of the runs"
    ),
    divisor=50,
    patience=180.0,
    python=partial(own_environment, "prefect"),
    variables={
        "PREFECT_HOME": "{folder}",
        "PREFECT_API_URL": "http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    },
)
PEERS = (BARE, CELERY, DBOS, TASKIQ, DRAMATIQ, PREFECT)
