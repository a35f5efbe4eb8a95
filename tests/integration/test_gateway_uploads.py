"""What people see who upload the files of the corpus: over real HTTP, to a real gateway."""

import pytest
from tests.corpus import CORPUS
from tests.integration.gateway_client import picture, problem
from tests.integration.gateway_fixtures import gateway_process
from tests.unit.test_corpus import ACCEPTED, REFUSED, by_name

from shared.assets import AssetStore
from shared.contracts.values import AssetRef

STATUS = {"unsupported_format": 415}
NAMES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif")


@pytest.fixture(scope="module")
async def client(stack):
    """A client of one gateway that takes all these files: what one of them does must not harm the next."""
    async with gateway_process(stack) as gateway:
        yield gateway.client


@by_name(REFUSED)
async def test_a_file_that_cannot_be_used_is_refused_with_what_to_do(client, specimen):
    answer = await client.post("/api/uploads", files={"file": (specimen.name, specimen.data, "image/jpeg")})
    problem(answer, STATUS.get(specimen.code, 422), specimen.code)
    told = answer.json()["problems"][0]
    assert told["fix"]
    if specimen.code == "unsupported_format":
        assert all(name in told["fix"] for name in NAMES)
    if specimen.name == "too-wide.png":
        assert "16385 x 1" in told["message"]


@by_name(ACCEPTED)
async def test_a_picture_is_kept_whatever_it_is_called(client, stack, specimen):
    answer = await client.post("/api/uploads", files={"file": ("notes.txt", specimen.data, "text/plain")})
    assert answer.status_code == 201, answer.text
    asset = AssetRef.model_validate(answer.json()["asset"])
    assert await AssetStore.from_url(stack.assets_url).get(asset) == specimen.data


async def test_pictures_are_taken_after_all_that(client):
    for _ in range(3):
        await client.post("/api/uploads", content=CORPUS["bomb.png"].data)
    answer = await client.post("/api/uploads", content=CORPUS["turned.jpg"].data)
    asset = answer.json()["asset"]
    assert (asset["width"], asset["height"]) == (48, 64)


@pytest.mark.parametrize("size", [0, 25 * 1024 * 1024 + 1])
async def test_the_size_of_the_file_is_limited_at_both_ends(client, size):
    start = picture() if size else b""  # what begins wrongly is refused sooner
    answer = await client.post("/api/uploads", content=start + bytes(size))
    problem(answer, *((413, "file_too_large") if size else (422, "empty_file")))
