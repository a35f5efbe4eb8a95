"""Work that decoding processes are given to see what they do with it; importable there."""

import gc
import os
import signal
import time
from multiprocessing.connection import Connection

from shared.contracts.errors import Problem
from shared.decoding import Picture
from shared.images import ImageInfo

INFO = ImageInfo("image/png", 1, 1)


def tell_pid(data: bytes) -> Picture:
    return Picture(str(os.getpid()).encode(), INFO)


def echo(data: bytes) -> Picture:
    return Picture(data, INFO, (Problem(code="heard", message="ä"),))


def compute_for_ever(data: bytes) -> Picture:
    while True:
        pass


def compute(data: bytes) -> Picture:
    """Use the processor for as many seconds as `data` says."""
    end = time.process_time() + float(data)
    while time.process_time() < end:
        pass
    return tell_pid(data)


def ask_for_memory(data: bytes) -> Picture:
    return Picture(bytes(int(data)), INFO)


def crash(data: bytes) -> Picture:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def answer_nonsense(data: bytes) -> Picture:
    """Write into the connection, as somebody does who has got hold of the process."""
    connections = (item for item in gc.get_objects() if isinstance(item, Connection))
    for connection in connections:
        connection.send_bytes(b"\x80\x04nonsense")
    return tell_pid(data)


def stumble(data: bytes) -> Picture:
    raise ZeroDivisionError(data)


def wait_for_ever(data: bytes) -> Picture:
    """Say that it has begun by a line into the named pipe that `data` names, and then wait."""
    with open(data, "wb") as pipe:  # noqa: PTH123 - a path in bytes
        pipe.write(str(os.getpid()).encode())
    signal.pause()
    raise AssertionError
