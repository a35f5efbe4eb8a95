"""The crop worker on the real broker: jobs become pictures, warnings or refusals, and none harms its neighbour."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from uuid import uuid4

import psutil
import pytest
from PIL import Image
from tests.corpus import CORPUS
from tests.corpus.specimen import saved
from tests.integration.results import next_result
from tests.integration.test_decoding import needs_memory_limit
from tests.integration.test_messaging import depth

from crop_worker.main import create_service
from shared.assets import AssetStore
from shared.contracts.commands import JobInput, NodeAbandon, NodeExecute
from shared.contracts.events import NodeFailed, NodeLasting, NodeSucceeded
from shared.contracts.values import ImageValue
from shared.images import inspect

pytestmark = pytest.mark.usefixtures("empty_queues")
PATIENCE = 30.0
SLOW = {"format": "avif"}


@pytest.fixture
def assets(stack):
    return AssetStore.from_url(stack.assets_url)


@pytest.fixture(scope="module")
def endless():
    """A picture whose encoding as AVIF takes longer than any test."""
    return saved(Image.effect_noise((4_000, 4_000), 80), "JPEG")


@asynccontextmanager
async def worker(stack, **settings):
    """Yield the processes in which the pictures of a running worker are decoded."""
    before = set(psutil.Process().children(recursive=True))
    async with create_service(stack.model_copy(update=settings)):
        started = set(psutil.Process().children(recursive=True)) - before
        yield [process for process in started if "forkserver" in " ".join(process.cmdline())]


async def job(assets, data, node_id="crop", **params):
    info = inspect(CORPUS["plain.jpg"].data)
    picture = JobInput(source="photo", value=ImageValue(asset=await assets.put_image(data, info)))
    return NodeExecute(
        run_id=uuid4(), node_id=node_id, node_type="crop_image", params=params, inputs={"image": (picture,)}
    )


async def results(channel, count):
    """Return so many results by node; a job that lasts says so in between."""
    found = {}
    while len(found) < count:
        result = await next_result(channel)
        if not isinstance(result, NodeLasting):
            found[result.node_id] = result
    return found


async def test_a_job_becomes_a_picture_with_its_warnings(stack, channel, publisher, assets):
    async with worker(stack):
        await publisher.publish(await job(assets, CORPUS["animated.gif"].data, aspectRatio="1:1", maxWidth=20))
        result = (await results(channel, 1))["crop"]
    assert isinstance(result, NodeSucceeded)
    assert isinstance(result.output, ImageValue)
    assert [(warning.code, warning.node_id) for warning in result.warnings] == [("animation_dropped", "crop")]
    kept = inspect(await assets.get(result.output.asset))
    assert (kept.media_type, kept.width, kept.height) == ("image/png", 20, 20)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("truncated-50%.jpg", "image_corrupt"),
        ("bomb.png", "image_too_large"),
        ("vector.svg", "unsupported_format"),
        ("one-pixel.png", "invalid_crop"),
    ],
)
async def test_what_cannot_be_cropped_fails_for_good(stack, channel, publisher, name, code):
    assets = AssetStore.from_url(stack.assets_url)
    async with worker(stack):
        await publisher.publish(await job(assets, CORPUS[name].data, x=60, width=10, unit="px"))
        result = (await results(channel, 1))["crop"]
    assert isinstance(result, NodeFailed)
    assert (result.error.code, result.retryable) == (code, False)


async def test_a_picture_that_takes_too_long_fails_for_good_and_its_neighbours_do_not(
    stack, channel, publisher, assets, endless
):
    async with worker(stack, crop_concurrency=2, decode_cpu_seconds=1):
        await publisher.publish(await job(assets, endless, "endless", **SLOW))
        await publisher.publish_all([await job(assets, CORPUS["plain.jpg"].data, f"good {n}") for n in range(3)])
        found = await results(channel, 4)
        await publisher.publish(await job(assets, CORPUS["plain.jpg"].data, "later"))
        found |= await results(channel, 1)
    failed = found.pop("endless")
    assert isinstance(failed, NodeFailed)
    assert (failed.error.code, failed.error.where, failed.retryable) == ("resource_limit", "cpu", False)
    assert all(isinstance(result, NodeSucceeded) for result in found.values())
    assert [await depth(channel, name) for name in ("jobs.crop_image", "dead.jobs.crop_image")] == [0, 0]


@needs_memory_limit
async def test_a_picture_that_needs_too_much_memory_fails_for_good_and_its_neighbours_do_not(
    stack, channel, publisher, assets
):
    async with worker(stack, crop_concurrency=2, decode_memory_bytes=2**28):
        await publisher.publish(await job(assets, CORPUS["most-pixels.png"].data, "bomb", padding=1))
        await publisher.publish_all([await job(assets, CORPUS["plain.png"].data, f"good {n}") for n in range(3)])
        found = await results(channel, 4)
    failed = found.pop("bomb")
    assert isinstance(failed, NodeFailed)
    assert (failed.error.code, failed.error.where, failed.retryable) == ("resource_limit", "memory", False)
    assert all(isinstance(result, NodeSucceeded) for result in found.values())


async def test_abandoning_a_job_kills_its_process_at_once(stack, channel, publisher, assets, endless):
    async with worker(stack, crop_concurrency=1) as processes:
        abandoned = await job(assets, endless, **SLOW)
        await publisher.publish(abandoned)
        busy = await asyncio.to_thread(first_busy, processes)
        await publisher.publish(NodeAbandon(**abandoned.about))
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [busy], PATIENCE)
        assert gone == [busy]
        await publisher.publish(await job(assets, CORPUS["plain.jpg"].data, "next"))
        assert isinstance((await results(channel, 1))["next"], NodeSucceeded)


def first_busy(processes):
    """Return the first process that computes."""
    return next(process for process in itertools.cycle(processes) if process.cpu_percent(interval=0.1) > 50)
