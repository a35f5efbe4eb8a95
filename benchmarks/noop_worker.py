"""`python -m benchmarks.noop_worker NODE_TYPE`: a worker of the real kit whose jobs cost nothing."""

import sys
from collections.abc import Mapping

from shared.contracts.commands import NodeExecute
from shared.contracts.values import TextValue
from shared.service import run
from shared.worker import Body, Outcome, Succeeded, worker_service

CONCURRENCY = 64  # jobs in hand per process; what a job waits for is the broker's confirm of its result


async def crop(job: NodeExecute) -> Outcome:
    """Return the picture as it came."""
    return Succeeded(job.inputs["image"][0].value)


async def answer(_: NodeExecute) -> Outcome:
    """Return a short text."""
    return Succeeded(TextValue(text="a picture"))


BODIES: Mapping[str, Body] = {"crop_image": crop, "llm": answer}


def main(node_type: str) -> None:
    """Be the worker of a node type."""
    run(
        f"noop_{node_type}",
        lambda settings: worker_service(settings, node_type, BODIES[node_type], concurrency=CONCURRENCY),
    )


if __name__ == "__main__":
    main(sys.argv[1])
