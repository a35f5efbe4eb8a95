"""A worker process whose call is never answered; it says when the model is asked, and waits to be killed."""

import asyncio
import json
import sys
from uuid import UUID

from tests.integration.ledger import call, provider, worker

from llm_worker.domain.model import ModelReply
from shared.settings import Settings


async def main(run_id, limits):
    asked = provider(**json.loads(limits))

    async def never() -> ModelReply:
        sys.stdout.write("asked\n")
        sys.stdout.flush()
        return await asyncio.get_running_loop().create_future()

    async with worker(Settings.load(), asked) as calls:
        await calls.complete(call(asked, run_id=UUID(run_id)), never)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
