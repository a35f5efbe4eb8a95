"""Pictures as a model takes them: small enough, as data URIs."""

import base64
from collections.abc import Sequence
from functools import partial

from llm_worker.domain.profiles import ImageBudget
from llm_worker.domain.provider import Provider
from llm_worker.downscaling import FORMAT, downscale
from shared.assets import AssetStore
from shared.contracts.errors import InvalidInputError, invalid
from shared.contracts.values import AssetRef
from shared.decoding import DecoderPool


class Pictures:
    """Makes data URIs of stored pictures, in the processes of a pool."""

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool

    async def data_uris(self, assets: AssetStore, pictures: Sequence[AssetRef], provider: Provider) -> tuple[str, ...]:
        """Return the pictures in their order, downscaled to the provider's budget.

        Raises the errors of pictures, of limits and of the asset store, `too_many_images` before anything is read, and
        `images_too_large` if together they are more than a call may carry.
        """
        budget = provider.image_budget
        if len(pictures) > budget.count:
            raise _too_many(len(pictures), provider)
        uris = tuple([await self._data_uri(assets, picture, budget) for picture in pictures])
        size = sum(len(uri) for uri in uris)
        if size > budget.request_bytes:
            raise _too_large(len(uris), size, provider)
        return uris

    async def _data_uri(self, assets: AssetStore, picture: AssetRef, budget: ImageBudget) -> str:
        work = partial(downscale, side=budget.side, max_bytes=budget.image_bytes)
        small = await self._pool.run(work, await assets.get(picture))
        return f"data:{FORMAT};base64,{base64.b64encode(small.data).decode('ascii')}"


def _too_many(count: int, provider: Provider) -> InvalidInputError:
    return invalid(
        "too_many_images",
        f"{count} pictures are connected, and the provider {provider.name!r} takes"
        f" {provider.image_budget.count or 'none'} in a call",
        where="images",
        fix="connect fewer pictures, or ask another model",
    )


def _too_large(count: int, size: int, provider: Provider) -> InvalidInputError:
    return invalid(
        "images_too_large",
        f"{count} pictures have {size:,} bytes together as they are sent, and the provider {provider.name!r} takes"
        f" {provider.image_budget.request_bytes:,} in a call",
        where="images",
        fix="connect fewer pictures, or lower images.side in the provider's settings",
    )
