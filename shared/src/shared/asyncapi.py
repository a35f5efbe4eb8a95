"""The AsyncAPI document: every channel of the broker with its messages, drawn from topology and contracts.

FastStream writes the document from a broker on which each channel is declared once; that broker is never started.
From the reader's side: `receive` is what one may consume, `send` what one may publish.
"""

from importlib.metadata import version
from typing import Any

from faststream.rabbit import RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.constants import ExchangeType
from faststream.specification import AsyncAPI
from pydantic import BaseModel

from shared import topology
from shared.contracts.messages import (
    NodeExecute,
    NodeFailed,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    RunFinished,
    RunStart,
    RunStarted,
)
from shared.contracts.node_types import WORKER_TYPES
from shared.contracts.queries import GetRun, ListRuns, RunReply, RunsReply

_INTRODUCTION = """\
Weft runs visual AI-image workflows as event-driven services over RabbitMQ.

To start a run, publish `run.start` to the exchange `weft.runs` with the routing key `run.start`. To follow runs,
bind a queue of your own to the topic exchange `weft.events`: run events have their kind as routing key
(`run.finished`), node events their kind and the node's type (`node.succeeded.llm`).

Properties of every message: `message_id` (equal whenever the same fact is told again), `correlation_id` (the run's
id), `type` (the message's kind), `content_type` application/json, `delivery_mode` 2. Unknown fields are to be
ignored. Messages are delivered at least once: expect repetitions, in any order.
"""
_EVENTS: tuple[type[BaseModel], ...] = (
    RunStarted,
    RunFinished,
    NodeQueued,
    NodeStarted,
    NodeSucceeded,
    NodeFailed,
    NodeRetrying,
    NodeSkipped,
)


def document() -> dict[str, Any]:
    """Return the AsyncAPI 3 document as JSON-ready values, equal for equal topology and contracts."""
    broker = RabbitBroker("amqp://localhost:5672")
    _describe(broker)
    specification = AsyncAPI(
        broker,
        title="Weft",
        version=version("weft-shared"),
        description=_INTRODUCTION,
        license={"name": "Apache-2.0"},
    )
    return specification.to_specification().to_jsonable()


def _exchange(name: str) -> RabbitExchange:
    return RabbitExchange(name, type=ExchangeType(topology.EXCHANGES[name]), durable=True, declare=False)


def _describe(broker: RabbitBroker) -> None:
    _sends(broker, topology.RUNS, RunStart.kind_name(), RunStart, "Start a run.")
    for node_type in WORKER_TYPES:
        _sends(broker, topology.JOBS, node_type.name, NodeExecute, f"A job for the workers of `{node_type.name}`.")
    _sends(broker, topology.QUERIES, topology.QUERIES_QUEUE, GetRun, "Ask for a run; reply_to gets a RunReply.")
    _sends(broker, topology.QUERIES, topology.QUERIES_QUEUE, ListRuns, "Ask for runs; reply_to gets a RunsReply.")
    for event in _EVENTS:
        kind = str(event.model_fields["kind"].default)
        pattern = kind if kind.startswith("run.") else f"{kind}.*"
        _receives(broker, pattern, event)
    for reply in (RunReply, RunsReply):
        broker.publisher("reply_to", title=reply.__name__, schema=reply, description="The answer to a query.")


def _sends(broker: RabbitBroker, exchange: str, routing_key: str, message: type[BaseModel], description: str) -> None:
    broker.publisher(
        exchange=_exchange(exchange),
        routing_key=routing_key,
        title=f"{exchange}/{routing_key}/{message.__name__}",
        schema=message,
        description=description,
        persist=True,
    )


def _receives(broker: RabbitBroker, pattern: str, event: type[BaseModel]) -> None:
    async def consume(message: BaseModel) -> None: ...

    consume.__annotations__["message"] = event
    subscriber = broker.subscriber(
        RabbitQueue("your-queue", routing_key=pattern),
        _exchange(topology.EVENTS),
        title=f"{topology.EVENTS}/{pattern}",
        description=event.__doc__,
    )
    subscriber(consume)
