"""Options and settings that several commands share."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.commands.completion import offer_runs, offer_workflows
from cli.output import ListOutput, Output, StreamOutput
from shared.contracts.errors import invalid, unavailable
from shared.contracts.run_options import (
    MAX_CONCURRENT_RUNS,
    MAX_COST,
    MAX_IN_FLIGHT,
    MAX_RUN_TIMEOUT,
    MAX_TOKENS,
    Priority,
)
from shared.settings import Settings

OutputOption = Annotated[Output, typer.Option("-o", "--output", help="text for people, or json alone on stdout")]
ListOutputOption = Annotated[
    ListOutput,
    typer.Option("-o", "--output", help="text for people, or json alone on stdout, or a line of it for each"),
]
StreamOutputOption = Annotated[
    StreamOutput, typer.Option("-o", "--output", help="text for people, or a line of JSON for each event")
]
WorkflowFile = Annotated[Path, typer.Argument(help="workflow as JSON", show_default=False)]
RunId = Annotated[UUID, typer.Argument(help="id of the run", show_default=False, autocompletion=offer_runs)]
WorkflowId = Annotated[
    UUID, typer.Argument(help="id of the workflow", show_default=False, autocompletion=offer_workflows)
]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="do not ask")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0, help="seconds to wait; the run itself goes on after them")
]
TriggerOption = Annotated[
    str | None, typer.Option("--trigger-id", help="your own name for the run; the same again starts nothing new")
]


@dataclass(frozen=True, slots=True)
class InputFlags:
    """What a workflow is started with."""

    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="NAME=FILE", help="a picture that the workflow asks for")
    ] = None
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a text that the workflow asks for")
    ] = None


@dataclass(frozen=True, slots=True)
class OutcomeFlags:
    """What is told of a run that was started."""

    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="follow the new run to its end, or print its id at once")
    ] = True
    timeout: TimeoutOption = None
    output: OutputOption = Output.TEXT


@dataclass(frozen=True, slots=True)
class CarryOutFlags:
    """How a run is to be carried out; what is not given stays as it is."""

    cache: Annotated[
        bool | None, typer.Option("--cache/--no-cache", help="reuse earlier outputs for equal input, or none")
    ] = None
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0, max=MAX_COST, help="dollars after which no model is asked")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=0, max=MAX_TOKENS, help="tokens after which no model is asked")
    ] = None
    priority: Annotated[Priority | None, typer.Option("--priority", help="how urgent the run is")] = None
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", metavar="KEY[=LIMIT]", help="of runs with this key, LIMIT (1) go on at a time"),
    ] = None
    run_timeout: Annotated[
        float | None,
        typer.Option("--run-timeout", min=0, max=MAX_RUN_TIMEOUT, help="seconds after which the run is ended"),
    ] = None
    max_in_flight: Annotated[
        int | None,
        typer.Option("--max-in-flight", min=1, max=MAX_IN_FLIGHT, help="nodes in the workers' hands at a time"),
    ] = None
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, max=MAX_IN_FLIGHT, help="of these, nodes that wait or have just been taken"),
    ] = None

    def as_options(self) -> dict[str, Any]:
        """Return what was given, as the gateway takes it; raise `invalid_option`."""
        budget = _given(maxCost=self.max_cost, maxTokens=self.max_tokens)
        return _given(
            useCache=self.cache,
            budget=budget or None,
            priority=self.priority,
            concurrency=_read_concurrency(self.concurrency) if self.concurrency is not None else None,
            timeout=self.run_timeout,
            maxInFlight=self.max_in_flight,
            window=self.window,
        )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _read_concurrency(text: str) -> dict[str, Any]:
    key, equals, limit = text.rpartition("=") if "=" in text else (text, "", "")
    is_limit = limit.isdecimal() and 1 <= int(limit) <= MAX_CONCURRENT_RUNS
    if not key or (equals and not is_limit):
        raise invalid(
            "invalid_option",
            f"{text!r} is no key, or no key with a limit between 1 and {MAX_CONCURRENT_RUNS:,}",
            where="--concurrency",
            fix="write --concurrency KEY or --concurrency KEY=LIMIT",
        )
    return {"key": key, "limit": int(limit)} if equals else {"key": key}


def confirm(question: str, *, yes: bool) -> None:
    """Return if the answer is yes, or was given beforehand.

    Raises `confirmation_needed` where there is nobody to ask, and typer.Abort if the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise invalid(
            "confirmation_needed",
            "this cannot be taken back, and there is no terminal to ask at",
            where="-y",
            fix="add -y",
        )
    typer.confirm(question, abort=True, err=True)


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


def amqp_url(settings: Settings) -> str:
    """Return the broker's address; raise UnavailableError `broker_unreachable` if none is known."""
    if settings.amqp_url is None:
        raise unavailable(
            "broker_unreachable",
            "no broker runs in this folder, and WEFT_AMQP_URL is not set",
            where=str(settings.home),
            fix="start one: weft dev; or set WEFT_AMQP_URL",
        )
    return settings.amqp_url
