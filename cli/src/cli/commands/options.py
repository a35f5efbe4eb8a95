"""Options and settings that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import Output
from shared.contracts.errors import unavailable
from shared.settings import Settings

OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text for people, or json alone on stdout")]
WorkflowFile = Annotated[Path, typer.Argument(help="workflow as JSON", show_default=False)]
ImageOption = Annotated[
    list[str] | None, typer.Option("--image", metavar="NAME=FILE", help="a picture that the workflow asks for")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a text that the workflow asks for")
]


def gateway_url(settings: Settings) -> str:
    """Return the gateway's address; raise UnavailableError `gateway_unreachable` if none is known."""
    if settings.gateway_url is None:
        raise unavailable(
            "gateway_unreachable",
            "no gateway runs in this folder, and WEFT_GATEWAY_URL is not set",
            where=str(settings.home),
            fix="start one: weft dev; or set WEFT_GATEWAY_URL",
        )
    return settings.gateway_url
