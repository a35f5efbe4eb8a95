"""The same graph as a Celery canvas. `python -m benchmarks.celery_app` is its worker, with two processes.

The addresses come in BENCH_BROKER_URL and BENCH_BACKEND_URL.
"""

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery, group

BROKER_URL, BACKEND_URL = "BENCH_BROKER_URL", "BENCH_BACKEND_URL"
PROCESSES = 2
ANSWER = "a picture"
# Nothing is lost when a worker or the broker dies, and what the manual recommends for many short tasks.
SETTINGS = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "broker_transport_options": {"confirm_publish": True},
    "worker_prefetch_multiplier": 64,
    "task_default_queue": "benchmark.celery",
}


def upload() -> dict[str, Any]:
    """Return a reference to a picture."""
    return {"key": "sha256/0", "mediaType": "image/jpeg", "size": 1000, "width": 300, "height": 200}


def crop(image: dict[str, Any], x: int, width: int) -> dict[str, Any]:  # noqa: ARG001 - the box travels, as in Weft
    """Return the picture as it came."""
    return image


def ask(image: dict[str, Any], user_message: str) -> str:  # noqa: ARG001 - the question travels, as in Weft
    """Return a short text."""
    return ANSWER


def join(texts: Sequence[str], user_message: str) -> str:  # noqa: ARG001 - the question travels, as in Weft
    """Return a short text."""
    return ANSWER


def create_app(broker_url: str, backend_url: str) -> Any:
    """Return the application. Celery has no types: Any."""
    app: Any = Celery("benchmark", broker=broker_url, backend=backend_url)
    app.conf.update(SETTINGS)
    # Nobody asks for the results of uploads and crops: they travel in the messages.
    for body, ignore_result in ((upload, True), (crop, True), (ask, False), (join, False)):
        app.task(name=body.__name__, ignore_result=ignore_result)(body)
    return app


def canvas(app: Any) -> Any:
    """Return the workflow: eight tasks; the group with the join behind it is a chord."""
    upload_task, crop_task, ask_task, join_task = (app.tasks[body.__name__] for body in (upload, crop, ask, join))
    new_group: Any = group
    branches = new_group(crop_task.s(33 * third, 33) | ask_task.s("What is it?") for third in range(3))
    return upload_task.s() | branches | join_task.s("What is it?")


def main() -> None:
    """Be the worker."""
    app = create_app(os.environ[BROKER_URL], os.environ[BACKEND_URL])
    quiet = ["--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", *quiet])


if __name__ == "__main__":
    main()
