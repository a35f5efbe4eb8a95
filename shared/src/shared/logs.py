"""Structured logs on stderr: JSON lines, or lines for people."""

import logging
import sys
from collections.abc import Iterable

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

from shared.redaction import Redaction

_NOISY = ("aiormq", "aio_pika", "httpx2", "httpcore2")


def configure_logs(service: str, *, log_format: str, level: str, secrets: Iterable[str] = ()) -> None:
    """Send the logs of Weft and of all libraries to stderr, each line with time, level and service, without secrets."""
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, Redaction(secrets)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=processors))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    structlog.contextvars.bind_contextvars(service=service)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        add_trace_id,
        add_ids_of_message,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def add_trace_id(_: object, __: str, line: EventDict) -> EventDict:
    """Add the id of the current trace to a line, if there is one, be it sampled or not."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line["trace_id"] = f"{context.trace_id:032x}"
    return line


def add_ids_of_message(_: object, __: str, line: EventDict) -> EventDict:
    """Name run and node on a line that names a message: `run/kind`, or `run/node/attempt/kind`."""
    run_id, *rest = str(line.get("message_id", "")).split("/")
    if rest:
        line.setdefault("run_id", run_id)
    if len(rest) >= len(("node", "attempt", "kind")):
        line.setdefault("node_id", rest[0])
    return line
