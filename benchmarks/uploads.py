"""`python -m benchmarks.uploads`: many large uploads at once, and the memory of the gateway that takes them.

Exit codes as those of `benchmarks.run`; 1 is that an upload was refused.
"""

import asyncio
import io
import secrets
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import httpx2
import psutil
from PIL import Image

from benchmarks.command import head_of_report, new_parser, positive, run_command, start_stack
from benchmarks.measures import MIB, RunsLostError, to_table
from benchmarks.processes import start_services
from shared.contracts.values import MAX_PICTURE_BYTES

PATIENCE = 900.0  # seconds
PIECE_BYTES = 64 * 1024
SAMPLE_SECONDS = 0.05
WIDTHS = {"PNG": 2950, "JPEG": 5350}  # of square pictures of noise, which are a little smaller than the limit


@dataclass(frozen=True, slots=True)
class UploadsMeasured:
    """What a round took: seconds, and bytes of memory before it and at its peak, child processes included."""

    seconds: float
    before: int
    peak: int


class MemoryWatch:
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
    side = WIDTHS[form]
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
                raise RunsLostError(f"an upload was refused: {answer.text}")

        await asyncio.gather(*map(upload, range(count)))


def _round(url: str, key: str, pid: int, pictures: Sequence[bytes], count: int) -> UploadsMeasured:
    with MemoryWatch(pid) as memory:
        started = time.perf_counter()
        asyncio.run(_upload_all(url, key, pictures, count))
        seconds = time.perf_counter() - started
    return UploadsMeasured(seconds, memory.before, memory.peak)


def _row(measured: UploadsMeasured, size: int) -> list[str]:
    memory = (f"{amount / MIB:.0f}" for amount in (measured.before, measured.peak))
    return [f"{measured.seconds:.1f}", f"{size / MIB / measured.seconds:.0f}", *memory]


def _measure(resources: ExitStack, folder: Path, *, count: int, rounds: int) -> str:
    settings = start_stack(resources, folder)
    server = start_services(resources, settings, {"gateway": ["gateway"]}, folder=folder / "logs")["gateway"]
    pictures = [picture(form) for form in WIDTHS]
    size = sum(len(pictures[number % len(pictures)]) for number in range(count))
    pid, (url, key) = server.process.pid, _door(server.process.pid)
    rows = [_row(_round(url, key, pid, pictures, count), size) for _ in range(rounds)]
    sizes = ", ".join(f"{form} of {len(data) / MIB:.1f} MiB" for form, data in zip(WIDTHS, pictures, strict=True))
    header = ["seconds", "MiB/s", "gateway's MiB before", "at the peak"]
    return f"{count} uploads at once ({sizes}), half of them as forms.\n\n" + "\n".join([*to_table(header, rows), ""])


def _door(pid: int) -> tuple[str, str]:
    """Return the gateway's address and the key that it was started with."""
    environment = psutil.Process(pid).environ()
    return f"http://127.0.0.1:{environment['WEFT_HTTP_PORT']}", environment["WEFT_API_KEY"]


def main() -> int:
    """Measure, and print the report."""
    parser = new_parser("uploads", __doc__)
    parser.add_argument("--uploads", type=positive, default=100, help="uploads at once (default 100)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds (default 3)")
    options = parser.parse_args()
    measure = partial(_measure, count=options.uploads, rounds=options.rounds)
    return run_command(measure, head=head_of_report("uploads"), output=options.output)


if __name__ == "__main__":
    sys.exit(main())
