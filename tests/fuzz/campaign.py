"""Damaged pictures through the real pool, and what became of them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import psutil
from tests.fuzz.mutations import case

from crop_worker.body import crop_picture
from shared.contracts.errors import InvalidInputError
from shared.decoding import DecoderPool, Limits

LIMITS = Limits(memory_bytes=2**30, cpu_seconds=10)
PRELOAD = ("crop_worker.body", "crop_worker.smart")
SAMPLE_EVERY = 200  # cases
CODES = frozenset(
    {
        "empty_file",
        "unsupported_format",
        "image_corrupt",
        "image_too_large",
        "image_metadata_too_large",
        "invalid_crop",
        "resource_limit",
    }
)
LIMIT_NAMES = frozenset({"memory", "cpu"})


@dataclass
class Outcome:
    """How often what came out; the cases that came out as none should; the largest process now and then, in bytes."""

    codes: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    memory: list[int] = field(default_factory=list[int])


async def fuzz(count: int, seed: int, processes: int, tell: Callable[[int], None] = lambda _: None) -> Outcome:
    """Return what became of the cases 0 to `count` of a seed."""
    outcome, numbers = Outcome(), iter(range(count))
    async with DecoderPool.open(processes, LIMITS, PRELOAD) as pool:

        async def take_cases() -> None:
            for number in numbers:
                await _try(pool, seed, number, outcome)
                if number % SAMPLE_EVERY == 0:
                    outcome.memory.append(_largest_process())
                    tell(number)

        await asyncio.gather(*(take_cases() for _ in range(processes)))
    return outcome


async def _try(pool: DecoderPool, seed: int, number: int, outcome: Outcome) -> None:
    data, params = case(seed, number)
    try:
        await pool.run(partial(crop_picture, params=params), data)
        outcome.codes["succeeded"] += 1
    except InvalidInputError as err:
        outcome.codes[err.code] += 1
        died = err.code == "resource_limit" and err.problems[0].where not in LIMIT_NAMES
        if died or err.code not in CODES:
            outcome.failures.append(f"case {number}: {err}")
    except Exception as err:  # noqa: BLE001 - any other is what is looked for
        outcome.failures.append(f"case {number}: {type(err).__name__}: {err}")


def _largest_process() -> int:
    """Return the resident memory of the largest process, in bytes; one may end while it is looked at."""
    sizes = [0]
    for process in psutil.Process().children(recursive=True):
        try:
            sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)
