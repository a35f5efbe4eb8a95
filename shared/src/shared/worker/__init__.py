"""The worker kit: a job comes in, a function does it, its outcome goes out; then the job is acknowledged.

A worker holds no workflow knowledge. What a job's function returns is one of a closed union of outcomes; the kit
turns it into the result event. A job is acknowledged after its result is safe, so a worker that dies loses
nothing: the broker gives the job to another.
"""

from shared.worker.outcomes import Body, Outcome, Permanent, Retryable, Succeeded
from shared.worker.service import worker_service

__all__ = ["Body", "Outcome", "Permanent", "Retryable", "Succeeded", "worker_service"]
