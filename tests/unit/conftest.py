"""What several modules of unit tests share."""

import pytest

from shared.decoding import DecoderPool, Limits


@pytest.fixture(scope="module")
async def pool():
    """A decoding process, as the gateway has them."""
    async with DecoderPool.open(1, Limits(2**30, 10)) as pool:
        yield pool
