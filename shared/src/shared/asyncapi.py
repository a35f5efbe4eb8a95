"""The AsyncAPI document: every channel of the broker with its messages, drawn from topology and contracts.

FastStream writes the document from a broker on which each channel is declared once; that broker is never started.
From the reader's side: `receive` is what one may consume, `send` what one may publish.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from faststream.rabbit import RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.constants import ExchangeType
from faststream.specification import AsyncAPI
from pydantic import BaseModel

from shared import topology
from shared.contracts.bundles import Bundle
from shared.contracts.commands import NodeAbandon, NodeExecute, NodeReplay, RunCancel, RunStart
from shared.contracts.envelope import Message
from shared.contracts.events import EVENTS, NodeFailed, NodeLasting, NodeProgress, NodeSucceeded
from shared.contracts.history import (
    FindRun,
    GetStatistics,
    GetTimeline,
    ListRuns,
    PruneHistory,
    PruneReply,
    StatisticsReply,
    TimelineReply,
)
from shared.contracts.node_types import WORKER_TYPES
from shared.contracts.operations import AttemptsReply, FindAttempts, FindWaiting, WaitingReply
from shared.contracts.queries import (
    CommandReply,
    CostsReply,
    EndsReply,
    Explain,
    FindCosts,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    OutputsReply,
    RunReply,
    RunsReply,
    WhyReply,
)
from shared.contracts.run_options import Lane

_INTRODUCTION = """\
Weft runs visual AI-image workflows as event-driven services over RabbitMQ.

To start a run, publish `run.start` to the exchange `weft.runs` with the routing key `run.start`; to cancel one,
`run.cancel` likewise; to try a failed node of an open run once more, `node.replay`. To follow runs, bind a queue of
your own to the topic exchange `weft.events`: run events have their kind as routing key (`run.finished`). What becomes
of nodes is told in bundles, for any runs together: the routing key is `events`, `type` too, and the body lines of JSON,
first an index (`[[message id, kind, run id, node type], ...]`), then each event on a line of its own. An entry of the
index may have a fifth member, the headers of the event's trace.
A worker consumes the jobs of its type from `weft.jobs` (lanes, most urgent first: `llm.high`, `llm`, `llm.low`; and
`llm.suspect`, for what was in hand when a worker died, to be taken one at a time)
and publishes what comes of them to `weft.results`, one by one, or in bundles with the routing key `node.results`; the
orchestrator tells it on. `weft.control` tells workers which
attempts to abandon. What a worker tells while it works (the pieces of a model's answer) is on the topic exchange
`weft.progress` (`node.progress.llm`), not persistent, for those who watch.

Properties of every message but bundles: `message_id` (equal whenever the same fact is told again), `correlation_id`
(the run's id), `type` (the message's kind), `content_type` application/json, `delivery_mode` 2. Unknown fields are to
be ignored. Messages are delivered at least once: expect repetitions, in any order.
"""
_ANSWERS: Mapping[type[BaseModel], type[BaseModel]] = {
    GetRun: RunReply,
    FindRun: RunReply,
    ListRuns: RunsReply,
    GetTimeline: TimelineReply,
    GetStatistics: StatisticsReply,
    PruneHistory: PruneReply,
    GetCommand: CommandReply,
    FindEnds: EndsReply,
    FindOutputs: OutputsReply,
    FindWaiting: WaitingReply,
    FindAttempts: AttemptsReply,
    Explain: WhyReply,
    FindCosts: CostsReply,
}
# All others are asked of the run tracker.
_ASKED_AT: Mapping[type[BaseModel], str] = {Explain: topology.WHY_QUEUE, FindCosts: topology.COSTS_QUEUE}


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
    for command in (RunStart, RunCancel, NodeReplay):
        _sends(broker, topology.RUNS, command.kind_name(), command, command.__doc__)
    for node_type in WORKER_TYPES:
        _describe_work(broker, node_type.name)
    for query, reply in _ANSWERS.items():
        queue = _ASKED_AT.get(query, topology.QUERIES_QUEUE)
        _sends(broker, topology.QUERIES, queue, query, f"{query.__doc__} reply_to gets a {reply.__name__}.")
    for event in EVENTS:
        _describe_event(broker, event)
    _receives(broker, topology.PROGRESS, f"{NodeProgress.kind_name()}.*", NodeProgress)
    for reply in dict.fromkeys(_ANSWERS.values()):
        broker.publisher("reply_to", title=reply.__name__, schema=reply, description="The answer to a query.")


def _describe_event(broker: RabbitBroker, event: type[Message]) -> None:
    kind = event.kind_name()
    if kind.startswith("run."):
        _receives(broker, topology.EVENTS, kind, event)
    else:
        _receives(broker, topology.EVENTS, Bundle.kind_name(), event, bundled=True)


def _describe_work(broker: RabbitBroker, node_type: str) -> None:
    for lane in Lane:
        key = lane.name_in(node_type)
        _sends(broker, topology.JOBS, key, NodeExecute, f"A job for the workers of `{node_type}`, {lane} priority.")
    _receives(broker, topology.CONTROL, node_type, NodeAbandon)
    for result in (NodeLasting, NodeSucceeded, NodeFailed):
        key = f"{result.kind_name()}.{node_type}"
        _sends(broker, topology.RESULTS, key, result, f"What has come of a job of `{node_type}`.")


def _sends(
    broker: RabbitBroker, exchange: str, routing_key: str, message: type[BaseModel], description: str | None
) -> None:
    broker.publisher(
        exchange=_exchange(exchange),
        routing_key=routing_key,
        title=f"{exchange}/{routing_key}/{message.__name__}",
        schema=message,
        description=description,
        persist=True,
    )


def _receives(
    broker: RabbitBroker, exchange: str, pattern: str, event: type[BaseModel], *, bundled: bool = False
) -> None:
    async def consume(message: BaseModel) -> None: ...

    consume.__annotations__["message"] = event
    subscriber = broker.subscriber(
        RabbitQueue("your-queue", routing_key=pattern),
        _exchange(exchange),
        title=f"{exchange}/{pattern}/{event.__name__}" if bundled else f"{exchange}/{pattern}",
        description=f"On a line of a bundle: {event.__doc__}" if bundled else event.__doc__,
    )
    subscriber(consume)
