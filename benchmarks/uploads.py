"""`python -m benchmarks.uploads`: many large uploads at once, and the memory of the gateway that takes them.

Exit codes: 0 measured, 1 an upload was refused, 69 something that is needed cannot be had, 130 interrupted.
"""

import argparse
import asyncio
import io
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx2
import psutil
from PIL import Image

from benchmarks.command import EXIT_INTERRUPTED, EXIT_LOST, leave, start_stack
from benchmarks.machine import describe_machine
from benchmarks.processes import start_services
from benchmarks.report import to_table
from shared.contracts.errors import WeftError
from shared.contracts.values import MAX_PICTURE_BYTES
from shared.logs import configure_logs
from shared.service import EXIT_UNAVAILABLE

PATIENCE = 900.0  # seconds
PIECE_BYTES = 64 * 1024
SAMPLE_SECONDS = 0.05
SIDES = {"PNG": 2950, "JPEG": 5350}  # of pictures of noise, which are a little smaller than the limit
MEBIBYTE = 1024 * 1024


class UploadRefusedError(Exception):
    """An upload was not taken."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a round took: seconds, and bytes of memory before it and at its peak, child processes included."""

    seconds: float
    before: int
    peak: int


class Memory:
    """Watches the resident memory of a process and of its children from a thread."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = self.peak = self.now()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def now(self) -> int:
        """Return the bytes that are resident now; what processes share is counted once, where the system tells."""
        processes = [self._process, *self._process.children(recursive=True)]
        infos = [process.memory_full_info() for process in processes]
        return sum(getattr(info, "pss", info.rss) for info in infos)

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.now())


def picture(form: str) -> bytes:
    """Return a picture of noise, as large as is allowed: decoded, it takes tens of megabytes."""
    side = SIDES[form]
    buffer = io.BytesIO()
    noise = Image.frombytes("RGB", (side, side), secrets.token_bytes(side * side * 3))
    noise.save(buffer, form, **({"quality": 90} if form == "JPEG" else {"compress_level": 1}))
    data = buffer.getvalue()
    assert len(data) <= MAX_PICTURE_BYTES - 16, f"{form}: {len(data)} bytes"
    return data


async def _pieces(data: bytes) -> AsyncGenerator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
    yield secrets.token_bytes(16)  # behind the picture: each upload is another file


async def _form(data: bytes) -> AsyncGenerator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="noise"\r\n\r\n'
    async for piece in _pieces(data):
        yield piece
    yield b"\r\n--b--\r\n"


async def _upload_all(url: str, key: str, pictures: Sequence[bytes], count: int) -> None:
    limits = httpx2.Limits(max_connections=count)
    headers = {"Authorization": f"Bearer {key}"}

    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=PATIENCE, limits=limits, trust_env=False
    ) as client:

        async def upload(number: int) -> None:
            data = pictures[number % len(pictures)]
            is_form = number // len(pictures) % 2
            kind = "multipart/form-data; boundary=b" if is_form else "application/octet-stream"
            body = _form(data) if is_form else _pieces(data)
            answer = await client.post("/api/uploads", content=body, headers={"Content-Type": kind})
            if not answer.is_success:
                raise UploadRefusedError(answer.text)

        await asyncio.gather(*map(upload, range(count)))


def _round(url: str, key: str, pid: int, pictures: Sequence[bytes], count: int) -> Measured:
    with Memory(pid) as memory:
        started = time.perf_counter()
        asyncio.run(_upload_all(url, key, pictures, count))
        seconds = time.perf_counter() - started
    return Measured(seconds, memory.before, memory.peak)


def _row(measured: Measured, size: int) -> list[str]:
    memory = (f"{amount / MEBIBYTE:.0f}" for amount in (measured.before, measured.peak))
    return [f"{measured.seconds:.1f}", f"{size / MEBIBYTE / measured.seconds:.0f}", *memory]


def _measure(resources: ExitStack, folder: Path, count: int, rounds: int) -> str:
    settings = start_stack(resources, folder)
    server = start_services(resources, settings, {"gateway": ["gateway"]}, folder=folder / "weft")["gateway"]
    pictures = [picture(form) for form in SIDES]
    size = sum(len(pictures[number % len(pictures)]) for number in range(count))
    pid, (url, key) = server.process.pid, _door(server.process.pid)
    rows = [_row(_round(url, key, pid, pictures, count), size) for _ in range(rounds)]
    sizes = ", ".join(f"{form} of {len(data) / MEBIBYTE:.1f} MiB" for form, data in zip(SIDES, pictures, strict=True))
    header = ["seconds", "MiB/s", "gateway's MiB before", "at the peak"]
    return f"{count} uploads at once ({sizes}), half of them as forms.\n\n" + "\n".join([*to_table(header, rows), ""])


def _door(pid: int) -> tuple[str, str]:
    """Return the gateway's address and the key that it was started with."""
    environment = psutil.Process(pid).environ()
    return f"http://127.0.0.1:{environment['WEFT_HTTP_PORT']}", environment["WEFT_API_KEY"]


def main() -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    parser.add_argument("--uploads", type=int, default=100, help="uploads at once (default 100)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    options = parser.parse_args()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    try:
        with tempfile.TemporaryDirectory(prefix="weft-benchmark-") as folder, ExitStack() as resources:
            report = _measure(resources, Path(folder), options.uploads, options.rounds)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except UploadRefusedError as err:
        print(f"refused: {err}", file=sys.stderr)
        return EXIT_LOST
    except WeftError as err:
        print(f"{err.code}: {err}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    report = f"`python -m benchmarks.uploads`\n\n{describe_machine()}.\n\n{report}"
    if options.output:
        options.output.write_text(report)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
