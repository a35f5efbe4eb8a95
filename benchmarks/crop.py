"""The crop worker's pictures through its processes, beside the bare calls of Pillow and of libvips, in one run.

python -m benchmarks.crop [--output benchmarks/CROP.md]

Exit codes as those of `benchmarks.run`.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.command import head_of_report, new_parser, positive, run_command
from benchmarks.crop_report import PACKAGES, TITLE, Seconds, report
from benchmarks.crop_sides import SIDES, Sample, pillow_crop, samples, vips_crop
from crop_worker.body import crop_picture
from crop_worker.main import PRELOAD
from shared.contracts.crop_params import CropImageParams
from shared.decoding import DecoderPool, Limits, Picture
from shared.decoding.picture import Work
from shared.images import ImageInfo

LIMITS = Limits(memory_bytes=2**30, cpu_seconds=10)
CROP = partial(crop_picture, params=CropImageParams(x=25, y=25, width=50, height=50))


def give_back(data: bytes) -> Picture:
    """Do nothing: what is left is the way to the process and back."""
    return Picture(data, ImageInfo("image/jpeg", 1, 1))


async def time_pool(pool: DecoderPool, work: Work, data: bytes, count: int, at_a_time: int = 1) -> float:
    """Return the seconds for so many pieces of work on a picture, so many at a time."""
    numbers = iter(range(count))

    async def do_some() -> None:
        for _ in numbers:
            await pool.run(work, data)

    started = time.perf_counter()
    await asyncio.gather(*(do_some() for _ in range(at_a_time)))
    return time.perf_counter() - started


def time_loop(crop: Callable[[bytes], bytes], data: bytes, count: int) -> float:
    """Return the seconds for so many crops in a loop."""
    started = time.perf_counter()
    for _ in range(count):
        crop(data)
    return time.perf_counter() - started


def _measure(_resources: ExitStack, _folder: Path, *, rounds: int, count: int) -> str:
    return asyncio.run(_measure_all(rounds, count))


async def _measure_all(rounds: int, count: int) -> str:
    mix = samples()
    cores = range(1, (os.cpu_count() or 1) + 1)
    sides = await _compare(mix, rounds, count)
    throughput = {size: await _throughput(mix[0], size, rounds, count) for size in cores}
    return report(mix, sides, throughput)


async def _compare(mix: Sequence[Sample], rounds: int, count: int) -> Seconds:
    """Measure the sides in turns; one picture at a time, the first of each side not counted."""
    seconds: dict[str, dict[str, list[float]]] = {}
    async with DecoderPool.open(1, LIMITS, PRELOAD) as pool:
        for sample in mix:
            measured = seconds[sample.name] = {name: [] for name in SIDES}
            await _round(pool, sample, 1, {name: [] for name in measured})
            for _ in range(rounds):
                await _round(pool, sample, count, measured)
    return seconds


async def _round(pool: DecoderPool, sample: Sample, count: int, measured: Mapping[str, list[float]]) -> None:
    measured["way"].append(await time_pool(pool, give_back, sample.data, count) / count)
    measured["pool"].append(await time_pool(pool, CROP, sample.data, count) / count)
    measured["pillow"].append(time_loop(partial(pillow_crop, sample), sample.data, count) / count)
    if "pyvips" in measured:
        measured["pyvips"].append(time_loop(partial(vips_crop, sample), sample.data, count) / count)


async def _throughput(sample: Sample, processes: int, rounds: int, count: int) -> float:
    """Return pictures per second with so many processes, all of them busy."""
    async with DecoderPool.open(processes, LIMITS, PRELOAD) as pool:
        await time_pool(pool, CROP, sample.data, processes, processes)
        jobs = count * processes
        return median([jobs / await time_pool(pool, CROP, sample.data, jobs, processes) for _ in range(rounds)])


def main() -> int:
    """Measure, and print the report."""
    parser = new_parser("crop", __doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="the sides take turns so often (default 7)")
    parser.add_argument("--count", type=positive, default=4, help="crops of a side in a round (default 4)")
    options = parser.parse_args()
    head = head_of_report("crop", title=TITLE, packages=PACKAGES)
    measure = partial(_measure, rounds=options.rounds, count=options.count)
    return run_command(measure, head=head, output=options.output)


if __name__ == "__main__":
    sys.exit(main())
