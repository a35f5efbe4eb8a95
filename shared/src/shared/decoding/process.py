"""A decoding process as the service sees it."""

import signal
import threading
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from pydantic import ValidationError
from structlog import get_logger

from shared.contracts.errors import InvalidInputError, unavailable
from shared.decoding.child import OUT_OF_MEMORY, READY, serve
from shared.decoding.limits import Limits, broke_down, cpu_exceeded, memory_exceeded
from shared.decoding.picture import Picture, Reply, Work

# A process is forked from a server that has one thread and all imports: that takes milliseconds, and shares memory.
CONTEXT = get_context("forkserver")
RETIRE_AFTER = 1_000  # pictures; whatever a decoder may leak ends with its process

log = get_logger(__name__)


class DecoderStoppedError(Exception):
    """The process was stopped: nobody waits for its picture."""


class DecodingDefectError(Exception):
    """The function that was to be done to a picture raised what no such function should; holds the traceback."""


class Decoder:
    """One process, started when it is first needed, and again if it died meanwhile.

    Everything but `stop` blocks: call it in a thread.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: ForkServerProcess | None = None
        self._connection: Connection | None = None
        self._pictures = 0
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def is_spent(self) -> bool:
        """Whether another is to take its place: it has ended, or had better."""
        return self._stopped or self._pictures >= RETIRE_AFTER

    @property
    def pid(self) -> int:
        """The id of the process; 0 while there is none."""
        return (self._process and self._process.pid) or 0

    def start(self) -> None:
        """Return when the process is ready.

        Raises DecoderStoppedError if it is stopped meanwhile, else UnavailableError `decoder_unavailable`.
        """
        try:
            self._start_process()
        except (EOFError, OSError) as err:
            if self._stopped:
                raise DecoderStoppedError from err
            self.stop()
            raise unavailable(
                "decoder_unavailable",
                "no process for decoding pictures can be started",
                where="WEFT_DECODE_MEMORY_BYTES",
                fix="see that the machine has memory and processes left, and that the setting is not too small",
            ) from err

    def work(self, work: Work, data: bytes) -> Picture:
        """Return what `work` makes of the data.

        Raises what `work` raises of InvalidInputError, `resource_limit` if it needs more than it may have or breaks the
        process, DecodingDefectError, and what `start` raises.
        """
        self.start()
        try:
            reply, picture = self._ask(work, data)
        except (EOFError, OSError) as err:
            raise self._told_death() from err
        except ValidationError as err:  # what follows it in the connection cannot be read either
            self.stop()
            raise DecodingDefectError("the process answered nonsense") from err
        self._pictures += 1
        return self._read(reply, picture)

    def stop(self) -> None:
        """Kill the process, whatever it does; from any thread."""
        with self._lock:
            self._stopped = True
            if self._process:
                self._process.kill()

    def close(self) -> None:
        """Kill the process, and return when it is gone."""
        self.stop()
        if self._process and self._connection:
            self._process.join()
            self._process.close()
            self._connection.close()
            self._process = self._connection = None

    def _start_process(self) -> None:
        with self._lock:
            if self._stopped:
                raise DecoderStoppedError
            if self._process and self._process.is_alive():
                return
            self._connection, theirs = CONTEXT.Pipe()
            process = CONTEXT.Process(target=serve, args=(theirs, self._limits), daemon=True)
            process.start()
            theirs.close()
            self._process = process
        if self._connection.recv_bytes() != READY:
            raise EOFError

    def _ask(self, work: Work, data: bytes) -> tuple[Reply, bytes]:
        assert self._connection
        self._connection.send(work)
        self._connection.send_bytes(data)
        return Reply.model_validate_json(self._connection.recv_bytes()), self._connection.recv_bytes()

    def _read(self, reply: Reply, picture: bytes) -> Picture:
        if reply.info:
            return Picture(picture, reply.info, reply.warnings)
        if reply.problems:
            raise InvalidInputError(*reply.problems)
        if reply.out_of_memory:
            self.stop()  # what is left of its memory may be in pieces
            raise memory_exceeded(self._limits)
        raise DecodingDefectError(reply.defect)

    def _told_death(self) -> Exception:
        if self._stopped:
            return DecoderStoppedError()
        assert self._process
        self._process.join()
        code = self._process.exitcode or 0
        self.stop()
        log.warning("a decoding process died", exit_code=code)
        if code == -signal.SIGXCPU:
            return cpu_exceeded(self._limits)
        if code == OUT_OF_MEMORY:
            return memory_exceeded(self._limits)
        return broke_down(self._limits, signal.Signals(-code).name if code < 0 else f"exit code {code}")
