"""Runs the local stack in the foreground."""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from cli.interrupts import ignore_interrupts, interrupted_once
from cli.render import write_line
from cli.supervisor import MODEL, Supervisor
from shared.settings import API_KEY_FILE, Settings


def run_until_interrupted(settings: Settings, *, gateway_port: int) -> None:
    """Start everything, say where it is, and stop everything at Ctrl-C or SIGTERM.

    Raises what `Supervisor.start` raises, and KeyboardInterrupt if interrupted before everything has started.
    """
    supervisor = Supervisor(settings.home, settings, gateway_port=gateway_port, tell=tell)
    with running(supervisor), suppress(KeyboardInterrupt):
        _say_where_everything_is(supervisor)
        threading.Event().wait()
    tell("stopped; nothing is left running")


@contextmanager
def running(supervisor: Supervisor) -> Generator[None]:
    """Start everything, and stop it on leaving, however often that is interrupted.

    SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt inside, once. Raises what `Supervisor.start` raises.
    """
    with interrupted_once():
        try:
            supervisor.start()
            yield
        finally:
            try:
                ignore_interrupts()
            finally:  # an interrupt may come between these two lines
                supervisor.stop()


def tell(line: str) -> None:
    """Write a line for people to stderr, at once."""
    sys.stderr.write(f"weft: {line}\n")
    sys.stderr.flush()


def _say_where_everything_is(supervisor: Supervisor) -> None:
    settings = supervisor.settings
    gateway = supervisor.service_url("gateway")
    rows = [("gateway", gateway), ("API documentation", f"{gateway}/docs"), ("model", _model(supervisor))]
    rows += [(name, supervisor.service_url(name)) for name in supervisor.names if name not in {"gateway", MODEL}]
    rows += [
        ("API key", str(settings.home / API_KEY_FILE)),
        ("logs", str(settings.home / "logs")),
        ("pictures", settings.assets_url or ""),
    ]
    width = max(len(name) for name, _ in rows)
    for name, place in rows:
        write_line(f"  {name:<{width}}  {place}")
    write_line(
        "Stop with Ctrl-C. Try: weft run execute docs/examples/workflow.json --image photo=docs/examples/photo.jpg"
    )
    sys.stdout.flush()


def _model(supervisor: Supervisor) -> str:
    standin = " (the offline stand-in; set WEFT_LLM_BASE_URL for a real one)" if MODEL in supervisor.names else ""
    return f"{supervisor.llm_base_url}{standin}"
