"""`python -m benchmarks.noop_worker NODE_TYPE`: a worker of the real kit whose jobs cost nothing."""

import sys
from collections.abc import Mapping

from shared.contracts.node_type import Params
from shared.contracts.node_types import REGISTRY
from shared.contracts.values import ImageValue, TextValue
from shared.worker import Job, Outcome, Succeeded, run_worker
from shared.worker.functions import Function

CONCURRENCY = 64  # jobs in hand per process; what a job waits for is the broker's confirm of its result


async def crop(job: Job[Params]) -> Outcome:
    """Return the picture as it came."""
    return Succeeded(ImageValue(asset=job.inputs.image("image")))


async def answer(_: Job[Params]) -> Outcome:
    """Return a short text."""
    return Succeeded(TextValue(text="a picture"))


FUNCTIONS: Mapping[str, Function] = {"crop_image": crop, "llm": answer}


def main(node_type: str) -> None:
    """Be the worker of a node type."""
    run_worker(REGISTRY[node_type], FUNCTIONS[node_type], concurrency=CONCURRENCY)


if __name__ == "__main__":
    main(sys.argv[1])
