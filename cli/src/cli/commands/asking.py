"""How a command asks the gateway one thing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cli.commands.options import gateway_url
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.client import AsyncClient

T = TypeVar("T")


def ask(question: "Callable[[AsyncClient], Awaitable[T]]") -> T:
    """Return the gateway's answer; raise what the client raises."""
    from cli.client import connect  # noqa: PLC0415 -- see the package

    async def asked() -> T:
        async with connect(gateway_url(Settings.load())) as gateway:
            return await question(gateway)

    return asyncio.run(asked())
