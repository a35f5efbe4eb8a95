"""A worker of the real kit that does what the question asks: `die`, or else answer with what it was brought."""

import os
import signal

from shared.contracts.commands import NodeExecute
from shared.contracts.values import TextValue
from shared.service import run
from shared.worker import Outcome, Succeeded, worker_service

CONCURRENCY = 16
DIE = "die"


async def obey(job: NodeExecute) -> Outcome:
    """Return the node's id and where its inputs came from; or end the process."""
    if job.params.get("userMessage") == DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    return Succeeded(answer_to(job))


def answer_to(job: NodeExecute) -> TextValue:
    sources = (item.source for items in job.inputs.values() for item in items)
    return TextValue(text=f"{job.node_id}({','.join(sources)})")


def main() -> None:
    """Be the worker of `llm` jobs."""
    run("obedient_worker", lambda settings: worker_service(settings, "llm", obey, concurrency=CONCURRENCY))
