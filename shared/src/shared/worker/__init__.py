"""The worker kit: a job comes in, a function does it, its outcome goes out; then the job is acknowledged.

A worker is a params model, a function and a registration (docs/adding-a-node-type.md), and holds no workflow
knowledge. What its function returns is one of a closed union of outcomes; the kit turns it into the result event. A job
is acknowledged after its result is safe, so a worker that dies loses nothing: the broker gives the job to another.
"""

from shared.worker.job import Inputs, Job, StoppedError
from shared.worker.outcomes import Outcome, Permanent, Retryable, Succeeded
from shared.worker.service import run_worker, worker_service

__all__ = [
    "Inputs",
    "Job",
    "Outcome",
    "Permanent",
    "Retryable",
    "StoppedError",
    "Succeeded",
    "run_worker",
    "worker_service",
]
