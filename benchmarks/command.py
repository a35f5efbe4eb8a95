"""What the commands of this folder have in common: exit codes, how they are ended, the servers that they start."""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from shared.embedded.stack import EmbeddedStack
from shared.settings import Settings
from shared.setup import set_up

EXIT_LOST = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT


def leave(_number: int, _frame: FrameType | None) -> None:
    """Be asked to end as by Ctrl-C: what was started is stopped on the way out.

    An exception raised right here would get lost if it came while a callback runs; asyncio waits for a better moment.
    """
    signal.raise_signal(signal.SIGINT)


def start_stack(resources: ExitStack, folder: Path) -> Settings:
    """Start a private PostgreSQL and RabbitMQ with everything set up; `resources` stops them."""
    say("starting PostgreSQL and RabbitMQ")
    urls = resources.enter_context(EmbeddedStack(folder / "stack"))
    settings = Settings(
        home=folder / "stack", amqp_url=urls.amqp_url, database_url=urls.database_url, assets_url=urls.assets_url
    )
    set_up(settings)
    return settings


def positive(text: str) -> int:
    """Return the number that an option gives; refuse one below 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def say(text: str) -> None:
    """Tell how it goes, on stderr."""
    print(text, file=sys.stderr, flush=True)
