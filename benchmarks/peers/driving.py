"""A peer's client is a process of its own, which this module lets the command drive: a batch at a time.

So its threads and event loops are not this command's, and its packages need not be either. Only the standard library is
imported here.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Listener

from benchmarks.measures import RunsLostError
from benchmarks.shapes import Shape

# The variables in which a peer's processes are given the addresses of the servers, and where they are driven from.
BROKER_URL, REDIS_URL, DATABASE_URL = "BENCH_BROKER_URL", "BENCH_REDIS_URL", "BENCH_DATABASE_URL"
PORT, KEY = "BENCH_PORT", "BENCH_KEY"
SERVER_PORT = "BENCH_SERVER_PORT"  # for a peer that has a server of its own
HOST = "127.0.0.1"

RunBatch = Callable[[Shape, int], float]  # submits that many runs at once; the seconds until all have ended


def serve(run_batch: RunBatch) -> None:
    """Do the batches that are asked for, until nobody asks any more."""
    address, key = (HOST, int(os.environ[PORT])), os.environ[KEY].encode()
    with Listener(address, authkey=key) as listener, listener.accept() as command, suppress(EOFError):
        while True:
            command.send(_answer(run_batch, *command.recv()))


def _answer(run_batch: RunBatch, shape: Shape, runs: int) -> float | str:
    """Return the seconds that a batch took, or why it did not end."""
    try:
        return run_batch(shape, runs)
    except RunsLostError as err:
        return str(err)
