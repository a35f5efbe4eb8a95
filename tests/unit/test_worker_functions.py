"""What the kit gives to a worker's function: typed params and inputs, progress, the deadline, and a signal to stop."""

import asyncio
import threading
from uuid import uuid4

import pytest
from pydantic import Field, ValidationError

from shared.assets import AssetStore
from shared.contracts.commands import JobInput, NodeExecute
from shared.contracts.errors import InvalidInputError
from shared.contracts.node_type import NodeType, Params
from shared.contracts.values import AssetRef, ImageValue, TextValue, ValueType
from shared.worker import Job, StoppedError, Succeeded
from shared.worker.functions import as_body

PICTURE = AssetRef(key="images/ab/abcd.jpg", media_type="image/jpeg", size=9, width=4, height=3)


class BlurParams(Params):
    radius: float = Field(default=2, gt=0)


BLUR = NodeType(name="blur_image", title="Blur", params=BlurParams, output=ValueType.IMAGE, queue="jobs.blur_image")


@pytest.fixture
def assets(tmp_path):
    return AssetStore.from_url(tmp_path.as_uri())


@pytest.fixture
def told():
    return []


@pytest.fixture
def body(assets, told):
    return lambda function: as_body(BLUR, function, assets, told.append)


def command(timeout=None, **fields):
    return NodeExecute(run_id=uuid4(), node_id="blur", node_type="blur_image", timeout=timeout, **fields)


def brought(*values):
    return tuple(JobInput(source=f"n{number}", value=value) for number, value in enumerate(values))


async def within(awaitable):
    async with asyncio.timeout(10):
        return await awaitable


async def test_a_function_gets_typed_params_and_inputs_and_the_store(body, assets):
    seen = []

    async def blur(job: Job[BlurParams]):
        seen.append(job)
        return Succeeded(TextValue(text=f"{job.params.radius:g}"))

    inputs = {"image": brought(ImageValue(asset=PICTURE)), "texts": brought(TextValue(text="a"), TextValue(text="b"))}
    sent = command(params={"radius": 7}, inputs=inputs)
    assert await body(blur)(sent) == Succeeded(TextValue(text="7"))
    (job,) = seen
    assert job.inputs.image("image") == PICTURE
    assert job.inputs.texts("texts") == [("n0", "a"), ("n1", "b")]
    assert (job.inputs.text("texts"), job.inputs.text("image")) == ("a", None)
    assert (job.run_id, job.node_id, job.attempt, job.assets) == (sent.run_id, "blur", 1, assets)


async def test_a_picture_that_is_needed_and_did_not_come_is_named(body):
    async def blur(job: Job[BlurParams]):
        job.inputs.image("image")
        raise AssertionError

    with pytest.raises(InvalidInputError) as raised:
        await body(blur)(command())
    (problem,) = raised.value.problems
    assert (problem.code, problem.where, problem.node_id) == ("missing_input", "image", "blur")


async def test_params_that_are_not_of_the_type_never_reach_the_function(body):
    async def blur(job: Job[BlurParams]):
        raise AssertionError

    with pytest.raises(ValidationError):
        await body(blur)(command(params={"radius": -1}))


async def test_a_sync_function_runs_in_a_thread_and_hears_that_it_is_to_stop(body):
    begun, ended = threading.Event(), threading.Event()

    def blur(job: Job[BlurParams]):
        begun.set()
        try:
            while True:
                job.stop.check()
        except StoppedError:
            ended.set()
            raise

    work = asyncio.create_task(body(blur)(command()))
    await within(asyncio.to_thread(begun.wait))
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(work)
    assert ended.is_set()


async def test_the_deadline_counts_from_the_beginning_of_the_job(body):
    left = []

    async def blur(job: Job[BlurParams]):
        left.append(job.deadline.seconds_left())
        return Succeeded(TextValue(text=""))

    await body(blur)(command(timeout=60.0))
    await body(blur)(command())
    assert 0 < left[0] <= 60
    assert left[1] is None


async def test_progress_is_told_in_pieces_that_hold_all_text_in_order(assets, told):
    words = [f"{number} " for number in range(200)]
    all_told = asyncio.Event()

    def tell(piece):
        told.append(piece)
        if piece.done:
            all_told.set()

    async def write(job: Job[BlurParams]):
        for word in words:
            job.progress.text(word)
            await asyncio.sleep(0)
        job.progress.done(0.5)
        await all_told.wait()
        return Succeeded(TextValue(text="".join(words)))

    await within(as_body(BLUR, write, assets, tell)(command()))
    assert "".join(piece.text for piece in told) == "".join(words)
    assert [piece.sequence for piece in told] == list(range(1, len(told) + 1))
    assert [piece.offset for piece in told] == [len("".join(p.text for p in told[:n])) for n in range(len(told))]
    assert len(told) < len(words) / 10
    assert len({piece.message_id for piece in told}) == len(told)


async def test_after_its_end_a_job_tells_nothing_more(body, told):
    kept = []

    async def write(job: Job[BlurParams]):
        kept.append(job.progress)
        return Succeeded(TextValue(text=""))

    await body(write)(command())
    kept[0].text("late")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == []
