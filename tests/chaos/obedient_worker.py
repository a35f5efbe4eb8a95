"""A worker of the real kit that does what the question asks: `die`, or else answer with what it was brought."""

import os
import signal

from shared.contracts.commands import NodeExecute
from shared.contracts.llm_params import LlmParams
from shared.contracts.node_types import REGISTRY
from shared.contracts.values import TextValue
from shared.worker import Job, Outcome, Succeeded, run_worker

CONCURRENCY = 16
DIE = "die"


async def obey(job: Job[LlmParams]) -> Outcome:
    """Return the node's id and where its inputs came from; or end the process."""
    if job.params.user_message == DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    return Succeeded(answer_to(job.command))


def answer_to(job: NodeExecute) -> TextValue:
    sources = (item.source for items in job.inputs.values() for item in items)
    return TextValue(text=f"{job.node_id}({','.join(sources)})")


def main() -> None:
    """Be the worker of `llm` jobs."""
    run_worker(REGISTRY["llm"], obey, concurrency=CONCURRENCY)
