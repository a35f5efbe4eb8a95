"""A service with a pool of decoding processes, to be killed; it says when it is ready."""

import asyncio

from shared.decoding import DecoderPool, Limits


async def main() -> None:
    async with DecoderPool.open(2, Limits(2**30, 10)):
        print("ready", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
