"""The decoding process: one picture after the other, until nobody asks any more."""

import signal
import sys
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import cast

from PIL import AvifImagePlugin

from shared.contracts.errors import InvalidInputError
from shared.decoding.limits import Limits, allow_next_picture, lift_cpu_limit, limit_memory
from shared.decoding.picture import Reply, Work

READY = b"ready"
OUT_OF_MEMORY = 77  # exit code; any that Python itself does not use


def serve(connection: Connection, limits: Limits) -> None:
    """Be the process.

    It ends when the connection does, which the system closes when the service dies, however it dies.
    """
    _prepare(limits)
    try:
        connection.send_bytes(READY)
        while True:
            _serve_one(connection, limits)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except MemoryError:  # between pictures, where there is nobody to tell
        sys.exit(OUT_OF_MEMORY)


def _serve_one(connection: Connection, limits: Limits) -> None:
    work = cast("Work", connection.recv())
    data = connection.recv_bytes()
    allow_next_picture(limits)
    reply, picture = _answer(work, data)
    lift_cpu_limit()
    connection.send_bytes(reply.to_json())
    connection.send_bytes(picture)


def _prepare(limits: Limits) -> None:
    # The service decides when its processes end: signals to the whole group come while it finishes its work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's; what people should know is told them
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # threads take address space, and processor time from other processes
    limit_memory(limits)


def _answer(work: Work, data: bytes) -> tuple[Reply, bytes]:
    try:
        picture = work(data)
    except InvalidInputError as err:
        return Reply(problems=err.problems), b""
    except MemoryError:
        return Reply(out_of_memory=True), b""
    except Exception as err:  # noqa: BLE001 - told, without what it says of the input, and raised by who asked
        return Reply(defect=f"{''.join(traceback.format_tb(err.__traceback__))}{type(err).__name__}"), b""
    return Reply(info=picture.info, warnings=picture.warnings), picture.data
