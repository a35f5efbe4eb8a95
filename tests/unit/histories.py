"""What is told of a run in which much goes wrong, and what is to be known of it afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from run_tracker.domain.records import AttemptRecord, LateRecord, NodeRecord, RunRecord
from run_tracker.domain.telling import told_by
from run_tracker.domain.views import node_view
from shared.contracts.commands import RunStart
from shared.contracts.envelope import NodeAttempt
from shared.contracts.errors import Problem
from shared.contracts.events import (
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeQueued,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunQueued,
    RunRejected,
    RunStarted,
    Usage,
)
from shared.contracts.graph import Edge, Node, WorkflowGraph
from shared.contracts.queries import AttemptView, LateResult, NodeView
from shared.contracts.run_options import Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue

RUN_ID = UUID(int=1)
OLD_RUN_ID = UUID(int=2)
WORKFLOW_ID = UUID(int=3)
LIMITED = Problem(code="llm_rate_limited", message="slow down")
REFUSED = Problem(code="llm_refused", message="no")
CRASHED = Problem(code="worker_crashed", message="every worker that took it died")
TIMEOUT = Problem(code="node_timeout", message="no result came in time")
USAGE = Usage(model="m", input_tokens=10, output_tokens=5, cost=0.01)
WARNING = Problem(code="icc_ignored", message="the colour profile is broken")
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def about(node_id: str, attempt: int = 1) -> NodeAttempt:
    return NodeAttempt(run_id=RUN_ID, node_id=node_id, node_type="llm", attempt=attempt)


def begun(node_id, seconds, attempt=1, worker="host:1"):
    """A job that was queued and taken by a worker a second later."""
    return (
        NodeQueued(**about(node_id, attempt), at=at(seconds)),
        NodeStarted(**about(node_id, attempt), at=at(seconds + 1), worker=worker),
    )


def succeeded(node_id, seconds, text, attempt=1):
    output = TextValue(text=text)
    return NodeSucceeded(
        **about(node_id, attempt), at=at(seconds), output=output, seconds=1.5, usage=USAGE, warnings=(WARNING,)
    )


def late(node_id, seconds, outcome=NodeStatus.SUCCESS, attempt=1):
    return NodeLate(**about(node_id, attempt), at=at(seconds), outcome=outcome, usage=USAGE)


NODES = (
    *("say", "given", "reused", "limited", "slow", "gone", "twice", "refused", "after", "open", "waiting"),
    *("dead", "behind", "known", "dropped"),
)
GRAPH = WorkflowGraph(
    nodes=tuple(Node(id=node_id, type="llm", params={"userMessage": "?", "model": None}) for node_id in NODES),
    edges=(Edge(source="refused", source_handle="output", target="after", target_handle="texts"),),
    name="demo",
)
COMMAND = RunStart(
    run_id=RUN_ID,
    graph=GRAPH,
    workflow_id=WORKFLOW_ID,
    scope=Scope.SELECTED,
    selected=NODES,
    given={"given": TextValue(text="earlier")},
    resumed_from=OLD_RUN_ID,
    tags=("shop", "night"),
    metadata={"order": 17, "who": {"name": "Ä", "none": None}},
)
_PENDING = tuple(
    NodeSummary(node_id=node_id, node_type="text" if node_id == "say" else "llm", status=NodeStatus.PENDING)
    for node_id in NODES
)
# A source, and what was given, have their outputs at once; a first job is queued.
_BEGUN = (
    _PENDING[0].model_copy(update={"status": NodeStatus.SUCCESS, "output": TextValue(text="hello")}),
    _PENDING[1].model_copy(update={"status": NodeStatus.SUCCESS, "output": TextValue(text="earlier"), "cached": True}),
    _PENDING[2],
    _PENDING[3].model_copy(update={"status": NodeStatus.QUEUED, "queued_at": at(1)}),
    *_PENDING[4:],
)
QUEUED = RunQueued(
    run_id=RUN_ID,
    at=at(0),
    workflow_id=WORKFLOW_ID,
    workflow_name="demo",
    resumed_from=OLD_RUN_ID,
    command=COMMAND,
    nodes=_PENDING,
)
STARTED = RunStarted.model_validate({**dict(QUEUED), "kind": "run.started", "nodes": _BEGUN})
FINISHED = RunFinished(
    run_id=RUN_ID,
    at=at(60),
    status=RunStatus.CANCELLED,
    total_nodes=15,
    successful_nodes=9,
    failed_nodes=2,
    skipped_nodes=1,
    cancelled_nodes=3,
    cached_nodes=3,
    tokens=90,
    cost=0.06,
    nodes={
        **dict.fromkeys(("say", "given", "reused", "limited", "slow", "twice"), NodeStatus.SUCCESS),
        **dict.fromkeys(("dead", "behind", "known"), NodeStatus.SUCCESS),
        **dict.fromkeys(("gone", "refused"), NodeStatus.FAILED),
        **dict.fromkeys(("open", "waiting", "dropped"), NodeStatus.CANCELLED),
        "after": NodeStatus.SKIPPED,
    },
)
EVENTS = (
    QUEUED,
    STARTED,
    # Somebody else chose the same id for another run.
    RunRejected(run_id=RUN_ID, at=at(5), existing_run_id=RUN_ID, problem=Problem(code="run_conflict", message="taken")),
    NodeSucceeded(**about("reused"), at=at(1), output=TextValue(text="found"), cached=True),
    # A worker's failure, and another attempt.
    NodeStarted(**about("limited"), at=at(2), worker="host:0"),
    NodeFailed(**about("limited"), at=at(3), error=LIMITED, retryable=True, seconds=1.0),
    NodeRetrying(**about("limited"), at=at(3), error=LIMITED, retry_at=at(10)),
    *begun("limited", 10, attempt=2),
    succeeded("limited", 12, "answer", attempt=2),
    # A timeout, another attempt, and then the result of the first.
    *begun("slow", 1),
    NodeLasting(**about("slow"), at=at(3), started_at=at(2)),
    NodeRetrying(**about("slow"), at=at(20), error=TIMEOUT, retry_at=at(25)),
    succeeded("slow", 22, "too late"),
    late("slow", 22),
    *begun("slow", 25, attempt=2),
    succeeded("slow", 27, "in time", attempt=2),
    # A timeout of the last attempt, and then its result.
    *begun("gone", 1),
    NodeFailed(**about("gone"), at=at(20), error=TIMEOUT),
    succeeded("gone", 23, "too late"),
    late("gone", 23),
    # A job that was with two workers, one of which lost its connection; the first result counts.
    *begun("twice", 1, worker="host:1"),
    succeeded("twice", 4, "first"),
    NodeStarted(**about("twice"), at=at(5), worker="host:2"),
    NodeFailed(**about("twice"), at=at(6), error=REFUSED, usage=USAGE),
    late("twice", 6, NodeStatus.FAILED),
    *begun("refused", 1),
    NodeFailed(**about("refused"), at=at(9), error=REFUSED, seconds=1.5, usage=USAGE),
    NodeSkipped(**about("after"), at=at(9), because_of="refused"),
    # A job that killed its workers, and is replayed when that is mended; what was skipped because of it is executed
    # then, reuses an earlier output, or waits until the run is cancelled.
    *begun("dead", 1),
    NodeFailed(**about("dead"), at=at(30), error=CRASHED),
    *(NodeSkipped(**about(node_id), at=at(30), because_of="dead") for node_id in ("behind", "known", "dropped")),
    *begun("dead", 40, attempt=2),
    succeeded("dead", 42, "mended", attempt=2),
    *begun("behind", 42, attempt=2),
    succeeded("behind", 44, "at last", attempt=2),
    NodeSucceeded(**about("known", 2), at=at(42), output=TextValue(text="found"), cached=True),
    NodeCancelled(**about("dropped", 2), at=at(60)),
    # The run is cancelled while a worker is at it, whose result comes all the same; twice, since it was told again.
    *begun("open", 58),
    NodeCancelled(**about("open"), at=at(60)),
    NodeCancelled(**about("open"), at=at(61)),
    NodeCancelled(**about("waiting"), at=at(60)),
    succeeded("open", 62, "too late"),
    late("open", 62),
    FINISHED,
)


def view(node_id: str, status: NodeStatus, **told: Any) -> NodeView:
    return NodeView.model_validate({"node_id": node_id, "node_type": "llm", "status": status, **told}, by_name=True)


def success(node_id, text, *, finished, **told):
    return view(node_id, NodeStatus.SUCCESS, output=TextValue(text=text), finished_at=at(finished), **told)


def had(seconds, worker="host:1"):
    """What is shown of a job that has `begun`."""
    return {"queued_at": at(seconds), "started_at": at(seconds + 1), "worker": worker}


def was_late(seconds, outcome=NodeStatus.SUCCESS):
    return {"late": (LateResult(attempt=1, at=at(seconds), outcome=outcome, usage=USAGE),)}


def tried(attempt: int, status: NodeStatus, queued: float, worker: str = "host:1", waited: float = 1.0, **told: Any):
    """What is shown of an attempt that has `begun`."""
    started = {"queued_at": at(queued), "started_at": at(queued + waited), "queue_seconds": waited, "worker": worker}
    return AttemptView.model_validate({"attempt": attempt, "status": status, **started, **told}, by_name=True)


TAKEN_TWICE = {"queued_at": at(1), "started_at": at(5), "worker": "host:2"}
COST: dict[str, Any] = {"seconds": 1.5, "usage": USAGE}
DONE: dict[str, Any] = {**COST, "warnings": (WARNING,)}
FAILED, SUCCESS = NodeStatus.FAILED, NodeStatus.SUCCESS
ATTEMPTS = {
    "limited": (
        tried(1, FAILED, 1, worker="host:0", finished_at=at(3), error=LIMITED, seconds=1.0),
        tried(2, SUCCESS, 10, finished_at=at(12), **COST),
    ),
    "slow": (
        tried(1, FAILED, 1, finished_at=at(20), error=TIMEOUT),
        tried(2, SUCCESS, 25, finished_at=at(27), **COST),
    ),
    "gone": (tried(1, FAILED, 1, finished_at=at(20), error=TIMEOUT),),
    "twice": (tried(1, SUCCESS, 1, worker="host:2", waited=4.0, finished_at=at(4), **COST),),
    "refused": (tried(1, FAILED, 1, finished_at=at(9), error=REFUSED, **COST),),
    "dead": (
        tried(1, FAILED, 1, finished_at=at(30), error=CRASHED),
        tried(2, SUCCESS, 40, finished_at=at(42), **COST),
    ),
    "behind": (tried(2, SUCCESS, 42, finished_at=at(44), **COST),),
    "open": (tried(1, NodeStatus.CANCELLED, 58, finished_at=at(60)),),
}
_NODES = (
    success("say", "hello", finished=0, node_type="text"),
    success("given", "earlier", finished=0, cached=True),
    success("reused", "found", finished=1, cached=True),
    success("limited", "answer", attempt=2, finished=12, **had(10), **DONE),
    success("slow", "in time", attempt=2, finished=27, **had(25), **DONE, **was_late(22)),
    view("gone", FAILED, error=TIMEOUT, finished_at=at(20), **had(1), **was_late(23)),
    success("twice", "first", finished=4, **TAKEN_TWICE, **DONE, **was_late(6, FAILED)),
    view("refused", FAILED, error=REFUSED, finished_at=at(9), **had(1), **COST),
    view("after", NodeStatus.SKIPPED, finished_at=at(9)),
    view("open", NodeStatus.CANCELLED, finished_at=at(60), **had(58), **was_late(62)),
    view("waiting", NodeStatus.CANCELLED, finished_at=at(60)),
    success("dead", "mended", attempt=2, finished=42, **had(40), **DONE),
    success("behind", "at last", attempt=2, finished=44, **had(42), **DONE),
    success("known", "found", attempt=2, finished=42, cached=True),
    view("dropped", NodeStatus.CANCELLED, attempt=2, finished_at=at(60)),
)
VIEWS = tuple(node.model_copy(update={"attempts": ATTEMPTS.get(node.node_id, ())}) for node in _NODES)


class History:
    """What is known of a run after batches of events: what the tables hold, without a database."""

    def __init__(self, *batches):
        self.run: RunRecord | None = None
        self._nodes: dict[str, NodeRecord] = {}
        self._attempts: dict[tuple[str, int], AttemptRecord] = {}
        self._late: set[tuple[str, LateResult]] = set()
        for batch in batches:
            self._merge(told_by(batch))

    def _merge(self, told):
        for run in told.runs.values():
            self.run = self.run.merge(run) if self.run else run
        for node in told.nodes.values():
            known = self._nodes.get(node.node_id)
            self._nodes[node.node_id] = known.merge(node) if known else node
        for attempt in told.attempts.values():
            key = attempt.node_id, attempt.attempt
            self._attempts[key] = self._attempts[key].merge(attempt) if key in self._attempts else attempt
        self._late |= {(result.node_id, _shown(result)) for result in told.late}

    @property
    def nodes(self) -> tuple[NodeView, ...]:
        return tuple(self.node(node_id) for node_id in sorted(self._nodes, key=self._position))

    def node(self, node_id: str) -> NodeView:
        late = sorted((late for of, late in self._late if of == node_id), key=lambda late: (late.attempt, late.at))
        attempts = (self._attempts[key] for key in sorted(self._attempts) if key[0] == node_id)
        return node_view(self._nodes[node_id], late, attempts)

    def _position(self, node_id):
        return self._nodes[node_id].position or 0


def _shown(late: LateRecord) -> LateResult:
    return LateResult(attempt=late.attempt, at=late.at, outcome=late.outcome, usage=late.usage)
