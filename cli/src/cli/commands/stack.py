"""`weft setup`, `weft dev`, `weft demo`: what runs locally."""

from typing import Annotated

import typer

from cli.errors import ExitCode
from shared.settings import Settings

PortOption = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65_535, help="port of the gateway; WEFT_HTTP_PORT, else a free one", metavar="N"),
]


def setup() -> int:
    """Prepare database and broker: migrations, exchanges, queues. Does only what is missing."""
    from cli.render import write_line  # noqa: PLC0415 -- see the package
    from shared.setup import set_up  # noqa: PLC0415 -- see the package

    set_up(Settings.load())
    write_line("database and broker are set up")
    return ExitCode.OK


def dev(port: PortOption = None) -> int:
    """Run everything locally until Ctrl-C: what is not configured of database, broker and model, and all services."""
    from cli.dev import run_until_interrupted  # noqa: PLC0415 -- see the package

    settings = _environment()
    run_until_interrupted(settings, gateway_port=settings.http_port if port is None else port)
    return ExitCode.OK


def demo() -> int:
    """Run the sample workflow on the sample photo, starting everything it needs, and stopping it again."""
    from cli.demo import run_demo  # noqa: PLC0415 -- see the package

    return run_demo(_environment())


def _environment() -> Settings:
    """Return what the environment says, without the addresses of what runs, or ran, in this folder."""
    Settings.load()  # for its errors
    return Settings()
