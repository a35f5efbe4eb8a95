"""The demonstration: the sample workflow on the sample photo, with everything it needs."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cli.dev import running, tell
from cli.display import is_drawn, show_progress
from cli.errors import ExitCode
from cli.render import write_line, write_run
from cli.runner import RunRequest, execute
from cli.services_file import ServicesFile
from cli.supervisor import Supervisor
from shared.contracts.errors import invalid
from shared.settings import Settings

RUN_SECONDS = 120.0
_EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"

_NEXT = """
What to do next:
  make dev                    keep everything running, then in another terminal:
  .venv/bin/weft run execute docs/examples/workflow.json --image photo=YOUR.jpg
  .venv/bin/weft runs list    and what it did before
  .venv/bin/weft queues list  and what is waiting"""
_STAND_IN = """
The answers come from the offline stand-in: it measures pictures, it does not understand them.
For a real model set WEFT_LLM_BASE_URL, WEFT_LLM_API_KEY and WEFT_LLM_MODEL (any OpenAI-compatible provider)."""


def run_demo(settings: Settings) -> ExitCode:
    """Run the sample workflow and tell of it; what was started for it is stopped again, whatever happens.

    Raises what `Supervisor.start`, `RunRequest.read` and `execute` raise.
    """
    request = RunRequest.read(_example("workflow.json"), images=[f"photo={_example('photo.jpg')}"])
    started = time.monotonic()
    with _system(settings) as system:
        ready = time.monotonic()
        with show_progress() as on_change:
            url = system.gateway_url or ""
            following = execute(url, request.begin, on_change, patience=RUN_SECONDS, draws=is_drawn())
            run = asyncio.run(following)
        done = time.monotonic()
        write_run(run, system.assets_url)
        write_line(f"Start-up took {ready - started:.1f} s, the run {done - ready:.1f} s.")
        if settings.llm_base_url is None:
            write_line(_STAND_IN)
        write_line(_NEXT)
    return ExitCode.OK if run.status == "completed" else ExitCode.RUN_FAILED


@contextmanager
def _system(settings: Settings) -> Generator[Settings]:
    """Yield the settings of what runs: in this folder already, or started here and stopped on leaving."""
    if settings.gateway_url or ServicesFile(settings.home).running():
        tell("using what runs already")
        yield Settings.load()
        return
    supervisor = Supervisor(settings.home, settings, gateway_port=settings.http_port, tell=tell)
    with running(supervisor):
        yield supervisor.settings


def _example(name: str) -> Path:
    path = _EXAMPLES / name
    if not path.exists():
        raise invalid(
            "example_missing", f"the sample {name} is not there", where=str(path), fix="run the demo from a checkout"
        )
    return path
