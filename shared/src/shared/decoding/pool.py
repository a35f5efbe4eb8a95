"""Decoding processes, as many as there may be at a time."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from structlog import get_logger

from shared.decoding.limits import MEMORY_IS_LIMITED, Limits
from shared.decoding.picture import Picture, Work
from shared.decoding.process import CONTEXT, Decoder
from shared.telemetry.tracing import spanning
from shared.threads import run_in_stoppable_thread, run_in_thread

log = get_logger(__name__)


class DecoderPool:
    """Does work to pictures in processes that are used again, and replaced when they die."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free: asyncio.LifoQueue[Decoder] = asyncio.LifoQueue()

    @classmethod
    @asynccontextmanager
    async def open(cls, size: int, limits: Limits, preload: Sequence[str] = ()) -> AsyncGenerator["DecoderPool"]:
        """Yield a pool of that many processes, all of them ready; nobody may wait for work any more when it is left.

        `preload` names the modules of the work that they will be given. Raises `decoder_unavailable`.
        """
        if not MEMORY_IS_LIMITED:
            log.warning("this system does not limit the memory of decoding processes")
        CONTEXT.set_forkserver_preload(["shared.decoding.child", *preload])
        pool = cls(limits)
        decoders = [Decoder(limits) for _ in range(size)]
        try:
            for decoder in decoders:
                await run_in_thread(decoder.start)
                pool._free.put_nowait(decoder)
            yield pool
        finally:
            while not pool._free.empty():
                await run_in_thread(pool._free.get_nowait().close)

    async def run(self, work: Work, data: bytes) -> Picture:
        """Return what `work` makes of a file, in a process of the pool, when one is free.

        Raises what `work` raises of InvalidInputError; `resource_limit` if it needs more time or memory than a picture
        may have, or breaks its process; DecodingDefectError if it raises anything else. A caller that is cancelled has
        the process killed, and is told so when it is gone.
        """
        decoder = await self._free.get()
        try:
            with spanning("decode") as span:
                picture = await run_in_stoppable_thread(decoder.stop, decoder.work, work, data)
                span.set_attribute("process.pid", decoder.pid)
            return picture
        finally:
            self._free.put_nowait(Decoder(self._limits) if decoder.is_spent else decoder)
            if decoder.is_spent:
                await run_in_thread(decoder.close)
