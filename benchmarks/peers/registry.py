"""The peers, each set up as its documentation recommends for speed where nothing may be lost.

Each has two processes that do jobs, like Weft: on the two cores that this is made for, more would only take turns.
"""

from dataclasses import replace
from functools import partial

from benchmarks.peers.driven import Peer
from benchmarks.peers.environments import own_environment

_BARE = "benchmarks.peers.bare"
BARE = Peer(
    name="bare",
    client=_BARE,
    workers={
        "coordinator": ["-m", _BARE, "coordinator"],
        "worker 1": ["-m", _BARE, "worker"],
        "worker 2": ["-m", _BARE, "worker"],
    },
    packages=("aio-pika",),
    setup=(
        "the floor: a start, a job and a result for each node that a worker does, and an end, over quorum queues,"
        " persistent, confirmed, acknowledged after what follows is confirmed; a coordinator that counts in memory what"
        " came back; two workers, 64 jobs in hand each; no events, no journal, no history; Python's collector of cycles"
        " set as in Weft's services"
    ),
    shapes=("sample", "wide", "chain"),
)
BARE_TOGETHER = replace(
    BARE,
    name="bare, together",
    workers={role: [*arguments, "together"] for role, arguments in BARE.workers.items()},
    setup=(
        "the same floor with what makes Weft's messages cheaper: up to 20 results in a message, where they come while"
        " one is on its way, and cumulative acknowledgements"
    ),
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
    database=True,
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
        " a fiftieth of the runs, so that its p95 of three single runs is the longest of them"
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
PEERS = (BARE, BARE_TOGETHER, CELERY, DBOS, TASKIQ, DRAMATIQ, PREFECT)
