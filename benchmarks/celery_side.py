"""Celery under measurement: canvas on the same RabbitMQ, results in Redis."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery.exceptions import TimeoutError as CeleryTimeoutError

from benchmarks.celery_app import ANSWER, BACKEND_URL, BROKER_URL, canvas, create_app
from benchmarks.measures import PATIENCE, Batch, RunsLostError, Turn
from benchmarks.processes import start


def start_celery(resources: ExitStack, broker_url: str, backend_url: str, folder: Path) -> Any:
    """Start the worker; return the application, through which runs are started. The worker may take a moment."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {BROKER_URL: broker_url, BACKEND_URL: backend_url}
    start(resources, "celery", [sys.executable, "-m", "benchmarks.celery_app"], log=folder / "celery.log", env=env)
    app = create_app(broker_url, backend_url)
    resources.callback(app.close)
    return app


def take_turn(app: Any, *, runs: int, idle_runs: int) -> Turn:
    """Measure one batch, then single runs. Raises RunsLostError."""
    return Turn(Batch(runs, _run(app, runs)), [_run(app, 1) for _ in range(idle_runs)])


def _run(app: Any, count: int) -> float:
    """Submit runs at once; return the seconds until the last result was there."""
    lost, seconds = _submit_and_wait(app, count)
    if lost:
        raise RunsLostError(f"Celery: {lost} of {count} runs had not ended as they must after {PATIENCE:.0f} s")
    return seconds


def _submit_and_wait(app: Any, count: int) -> tuple[int, float]:
    """Return how many runs did not end as they must, and the seconds."""
    workflows = [canvas(app) for _ in range(count)]
    started = time.perf_counter()
    results = [workflow.apply_async() for workflow in workflows]
    lost = sum(not _succeeded(result, started + PATIENCE) for result in results)
    return lost, time.perf_counter() - started


def _succeeded(result: Any, until: float) -> bool:
    try:
        return result.get(timeout=max(0.01, until - time.perf_counter())) == ANSWER
    except CeleryTimeoutError:
        result.forget()
        return False
