"""Decoding processes: reused while all goes well, killed and replaced when not, and no picture harms another."""

import asyncio
import os
import sys
from contextlib import suppress
from functools import partial

import psutil
import pytest
from PIL import Image
from tests import decoding_work as work
from tests.corpus import CORPUS
from tests.corpus.specimen import saved
from tests.unit.test_corpus import by_name

from crop_worker.body import crop_picture
from shared.contracts.crop_params import CropImageParams
from shared.contracts.errors import InvalidInputError, UnavailableError
from shared.decoding import DecoderPool, Limits, inspect_picture, process
from shared.decoding.limits import MEMORY_IS_LIMITED
from shared.decoding.process import DecodingDefectError

LIMITS = Limits(memory_bytes=2**30, cpu_seconds=10)
PATIENCE = 30.0
needs_memory_limit = pytest.mark.skipif(not MEMORY_IS_LIMITED, reason="this system does not limit memory")


@pytest.fixture(scope="module")
async def pool():
    async with DecoderPool.open(2, LIMITS) as pool:
        yield pool


@pytest.fixture
async def one():
    async with DecoderPool.open(1, Limits(2**28, 1)) as pool:
        yield pool


async def pid_of(pool):
    return int((await pool.run(work.tell_pid, b"")).data)


async def refusal(pool, function, data=b""):
    with pytest.raises(InvalidInputError) as caught:
        await pool.run(function, data)
    return caught.value.problems[0]


async def test_a_picture_comes_back_with_what_is_told_of_it(pool):
    data = os.urandom(3_000_000)
    result = await pool.run(work.echo, data)
    assert (result.data, result.info) == (data, work.INFO)
    assert [(warning.code, warning.message) for warning in result.warnings] == [("heard", "ä")]


async def test_a_warm_process_is_used_again(one):
    assert await pid_of(one) == await pid_of(one) != os.getpid()


async def test_as_many_pictures_at_a_time_as_processes(pool, tmp_path):
    pipes = [tmp_path / "first", tmp_path / "second"]
    held = [hold(pool, pipe) for pipe in pipes]
    pids = [await begun(pipe) for pipe in pipes]
    third = asyncio.create_task(pid_of(pool))
    await asyncio.sleep(0)
    assert not third.done()
    await cancel(held[0])
    assert await third not in pids
    await cancel(held[1])


def hold(pool, pipe):
    """Have a process of the pool wait for ever; return the task that asked for it."""
    os.mkfifo(pipe)
    return asyncio.create_task(pool.run(work.wait_for_ever, bytes(pipe)))


async def begun(pipe):
    """Return the pid of the process that waits, once it does."""
    return int(await asyncio.to_thread(pipe.read_bytes))


async def cancel(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_cancelling_kills_the_process_and_another_takes_its_place(one, tmp_path):
    task = hold(one, tmp_path / "pipe")
    pid = await begun(tmp_path / "pipe")
    await cancel(task)
    assert not psutil.pid_exists(pid)
    assert await pid_of(one) != pid


async def test_what_waits_for_a_process_can_be_cancelled_too(one, tmp_path):
    holding = hold(one, tmp_path / "pipe")
    await begun(tmp_path / "pipe")
    waiting = asyncio.create_task(pid_of(one))
    await asyncio.sleep(0)
    await cancel(waiting)
    await cancel(holding)
    assert await pid_of(one)


async def test_too_much_processor_time_ends_the_process(one):
    before = await pid_of(one)
    problem = await refusal(one, work.compute_for_ever)
    assert (problem.code, problem.where) == ("resource_limit", "cpu")
    assert "1 s" in problem.message
    assert await pid_of(one) != before


async def test_processor_time_is_counted_for_each_picture(one):
    pids = {(await one.run(work.compute, b"0.7")).data for _ in range(4)}
    assert len(pids) == 1


@needs_memory_limit
async def test_too_much_memory_is_refused(one):
    before = await pid_of(one)
    problem = await refusal(one, work.ask_for_memory, str(2**28).encode())
    assert (problem.code, problem.where) == ("resource_limit", "memory")
    assert "256 MiB" in problem.message
    assert await pid_of(one) != before


@needs_memory_limit
async def test_a_real_picture_that_needs_too_much_memory_is_refused(one):
    problem = await refusal(
        one, partial(crop_picture, params=CropImageParams(padding=1)), CORPUS["most-pixels.png"].data
    )
    assert (problem.code, problem.where) == ("resource_limit", "memory")


async def test_a_real_picture_that_takes_too_long_is_refused():
    slow = partial(crop_picture, params=CropImageParams(format="avif"))
    async with DecoderPool.open(1, Limits(2**30, 1)) as pool:
        problem = await refusal(pool, slow, saved(Image.effect_noise((4_000, 4_000), 80), "JPEG"))
    assert (problem.code, problem.where) == ("resource_limit", "cpu")


async def test_a_crash_is_the_end_of_one_picture_and_not_of_its_neighbour(pool):
    problem, neighbour = await asyncio.gather(
        refusal(pool, work.crash), pool.run(inspect_picture, CORPUS["plain.jpg"].data)
    )
    assert (problem.code, problem.where) == ("resource_limit", "SIGSEGV")
    assert neighbour.info.width == 64


async def test_a_process_that_was_killed_while_idle_costs_no_picture(one):
    idle = psutil.Process(await pid_of(one))
    idle.kill()
    psutil.wait_procs([idle], PATIENCE)
    assert await pid_of(one) != idle.pid


async def test_a_defect_is_told_without_the_input(one):
    before = await pid_of(one)
    with pytest.raises(DecodingDefectError, match="ZeroDivisionError") as caught:
        await one.run(work.stumble, b"SECRET")
    assert "SECRET" not in str(caught.value)
    assert await pid_of(one) == before


async def test_a_process_that_answers_nonsense_is_not_used_again(one):
    before = await pid_of(one)
    with pytest.raises(DecodingDefectError, match="nonsense"):
        await one.run(work.answer_nonsense, b"")
    assert await pid_of(one) != before


async def test_a_process_is_replaced_after_many_pictures(one, monkeypatch):
    monkeypatch.setattr(process, "RETIRE_AFTER", 2)
    assert len({await pid_of(one) for _ in range(4)}) == 2


async def test_closing_leaves_no_process_behind():
    async with DecoderPool.open(2, LIMITS) as pool:
        pid = await pid_of(pool)
    assert not psutil.pid_exists(pid)


async def test_processes_end_when_their_service_is_killed():
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.decoding_service"), stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout
    assert await service.stdout.readline() == b"ready\n"
    processes = psutil.Process(service.pid).children(recursive=True)
    assert len(processes) >= 2
    service.kill()
    await service.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE)
    assert alive == []


async def test_a_process_that_does_not_get_ready_is_told_of(monkeypatch):
    monkeypatch.setattr(process, "READY", b"what no process says")
    with pytest.raises(UnavailableError) as caught:
        async with DecoderPool.open(1, LIMITS):
            pass
    assert caught.value.code == "decoder_unavailable"


@by_name([specimen for specimen in CORPUS.values() if specimen.name != "most-pixels.png"])
async def test_the_corpus_through_the_pool(pool, specimen):
    crop = partial(crop_picture, params=CropImageParams(max_width=100))
    if specimen.code:
        assert (await refusal(pool, crop, specimen.data)).code == specimen.code
    else:
        result = await pool.run(crop, specimen.data)
        assert tuple(warning.code for warning in result.warnings) == specimen.warnings


@needs_memory_limit  # and only there one process can see the limits of another
async def test_what_a_picture_left_of_its_time_is_no_limit_for_the_next(one):
    process_of_pool = psutil.Process(await pid_of(one))
    soft, hard = process_of_pool.rlimit(psutil.RLIMIT_CPU)
    assert soft == hard
