"""The wire form of every message, pinned: a change that others would notice fails here first."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

from shared.contracts.commands import (
    COMMANDS,
    JobInput,
    NodeAbandon,
    NodeExecute,
    NodeExpire,
    NodeReplay,
    NodeRetry,
    RunAdmit,
    RunCancel,
    RunExpire,
    RunStart,
)
from shared.contracts.cursors import NodeCursor, RunCursor
from shared.contracts.envelope import NodeAttempt
from shared.contracts.errors import Problem
from shared.contracts.events import (
    EVENTS,
    NodeCancelled,
    NodeFailed,
    NodeLasting,
    NodeLate,
    NodeProgress,
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
from shared.contracts.graph import Edge, Node, Position, WorkflowGraph
from shared.contracts.history import (
    DayStatistics,
    FindRun,
    GetStatistics,
    GetTimeline,
    ListRuns,
    PrunedWeek,
    PruneHistory,
    PruneReply,
    Statistics,
    StatisticsReply,
    TimelineEntry,
    TimelineReply,
)
from shared.contracts.operations import (
    AttemptKey,
    AttemptsReply,
    AttemptStand,
    FindAttempts,
    FindWaiting,
    WaitingJob,
    WaitingReply,
)
from shared.contracts.queries import (
    AttemptView,
    CommandReply,
    EndsReply,
    Explain,
    FindEnds,
    FindOutputs,
    GetCommand,
    GetRun,
    LateResult,
    NodeExplanation,
    NodeView,
    OutputsReply,
    Reason,
    RunEnd,
    RunReply,
    RunsReply,
    RunView,
    WhyReply,
)
from shared.contracts.retries import RetryPolicy
from shared.contracts.run_options import Budget, Concurrency, Lane, Priority, RunOptions, Scope
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import AssetRef, ImageValue, RecordValue, TextValue

RUN_ID = UUID("11111111-1111-4111-8111-111111111111")
WORKFLOW_ID = UUID("22222222-2222-4222-8222-222222222222")
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
PICTURE = ImageValue(asset=AssetRef(key="images/ab/abcd.jpg", media_type="image/jpeg", size=9, width=4, height=3))
TEXT = TextValue(text="Ünïcode — 你好")
DAY = DayStatistics(
    day=AT.date(),
    runs=2,
    completed=1,
    failed=1,
    failure_rate=0.5,
    p50_seconds=1.5,
    p95_seconds=2.5,
    cost=0.25,
    tokens=30,
)
NODE_CURSOR = NodeCursor(position=7, node_id="ask")
RESULT = RecordValue(fields={"answer": TEXT})
PROBLEM = Problem(code="llm_refused", message="refused", where="model m", node_id="ask", fix="ask otherwise")
USAGE = Usage(model="m", input_tokens=12, cached_tokens=4, output_tokens=3, cost=0.0015)
GRAPH = WorkflowGraph(
    name="demo",
    nodes=(
        Node(id="photo", type="upload_image", position=Position(x=1, y=2)),
        Node(
            id="crop",
            type="crop_image",
            name="Crop",
            params={"width": 50},
            retry=RetryPolicy(max_attempts=5),
            timeout=30,
            cache=False,
        ),
    ),
    edges=(Edge(id="e1", source="photo", target="crop", target_handle="image"),),
)


def about(node_id: str, node_type: str) -> NodeAttempt:
    return NodeAttempt(run_id=RUN_ID, node_id=node_id, node_type=node_type, attempt=1)


START = RunStart(
    run_id=RUN_ID,
    graph=GRAPH,
    inputs={"photo": PICTURE},
    workflow_id=WORKFLOW_ID,
    workflow_version=1,
    trigger_run_id="order-17",
    scope=Scope.SINGLE,
    selected=("crop",),
    given={"photo": PICTURE},
    resumed_from=WORKFLOW_ID,
    options=RunOptions(
        priority=Priority.HIGH,
        timeout=60,
        max_in_flight=4,
        budget=Budget(max_cost=0.5, max_tokens=1000),
        concurrency=Concurrency(key="shop", limit=2),
        use_cache=False,
    ),
    owner="shop",
)
TAKEN = {
    "run_id": RUN_ID,
    "at": AT,
    "workflow_id": WORKFLOW_ID,
    "workflow_version": 1,
    "workflow_name": "demo",
    "trigger_run_id": "order-17",
    "resumed_from": WORKFLOW_ID,
    "command": RunStart(run_id=RUN_ID, graph=GRAPH),
    "nodes": (
        NodeSummary(node_id="photo", node_type="upload_image", status=NodeStatus.SUCCESS, output=PICTURE, cached=True),
        NodeSummary(node_id="crop", node_type="crop_image", name="Crop", status=NodeStatus.PENDING),
        NodeSummary(node_id="ask", node_type="llm", status=NodeStatus.QUEUED, queued_at=AT),
    ),
}
EXAMPLES = {
    "run.start": START,
    "run.cancel": RunCancel(run_id=RUN_ID, reason="not needed any more"),
    "run.admit": RunAdmit(run_id=RUN_ID, at=AT),
    "run.expire": RunExpire(run_id=RUN_ID, at=AT),
    "node.execute": NodeExecute(
        **about("crop", "crop_image"),
        workflow_id=WORKFLOW_ID,
        params={"width": 50},
        inputs={"image": (JobInput(source="photo", value=PICTURE),)},
        last_attempt=True,
        timeout=60,
        lane=Lane.LOW,
    ),
    "run.queued": RunQueued.model_validate(TAKEN),
    "run.started": RunStarted.model_validate(TAKEN),
    "run.rejected": RunRejected(run_id=RUN_ID, at=AT, existing_run_id=WORKFLOW_ID, problem=PROBLEM),
    "node.queued": NodeQueued(**about("crop", "crop_image"), at=AT),
    "node.started": NodeStarted(**about("crop", "crop_image"), at=AT, worker="host:1"),
    "node.succeeded": NodeSucceeded(
        **about("ask", "llm"), at=AT, output=TEXT, seconds=0.25, usage=USAGE, cached=True, warnings=(PROBLEM,)
    ),
    "node.failed": NodeFailed(
        **about("ask", "llm"), at=AT, error=PROBLEM, retryable=True, retry_after=2, seconds=1, usage=USAGE
    ),
    "node.retrying": NodeRetrying(**about("ask", "llm"), at=AT, error=PROBLEM, retry_at=AT),
    "node.retry": NodeRetry(**about("ask", "llm"), at=AT),
    "node.replay": NodeReplay(**about("ask", "llm"), params={"model": "other"}),
    "node.expire": NodeExpire(**about("ask", "llm"), at=AT),
    "node.abandon": NodeAbandon(**about("ask", "llm")),
    "node.lasting": NodeLasting(**about("ask", "llm"), at=AT, started_at=AT),
    "node.progress": NodeProgress(**about("ask", "llm"), at=AT, sequence=2, text="a lake", offset=5, done=0.5),
    "node.cancelled": NodeCancelled(**about("ask", "llm"), at=AT),
    "node.late": NodeLate(**about("ask", "llm"), at=AT, outcome=NodeStatus.SUCCESS, usage=USAGE),
    "node.skipped": NodeSkipped(**about("join", "llm"), at=AT, because_of="ask"),
    "run.finished": RunFinished(
        run_id=RUN_ID,
        at=AT,
        status=RunStatus.PARTIAL,
        total_nodes=3,
        successful_nodes=1,
        failed_nodes=1,
        skipped_nodes=1,
        cached_nodes=1,
        tokens=15,
        cost=0.0015,
        nodes={"photo": NodeStatus.SUCCESS, "ask": NodeStatus.FAILED, "join": NodeStatus.SKIPPED},
        result=RESULT,
        problems=(PROBLEM,),
    ),
    "run.get": GetRun(run_id=RUN_ID, after=NODE_CURSOR),
    "run.find": FindRun(trigger_run_id="order-17", owner="ann"),
    "run.timeline": GetTimeline(run_id=RUN_ID, after=NODE_CURSOR),
    "timeline.reply": TimelineReply(
        created_at=AT,
        finished_at=AT,
        entries=(
            TimelineEntry(
                node_id="ask",
                node_type="llm",
                name="Ask",
                attempt=2,
                status=NodeStatus.SUCCESS,
                queued_at=AT,
                started_at=AT,
                finished_at=AT,
                queue_seconds=0.5,
                worker="host:1",
            ),
        ),
        next=NODE_CURSOR,
    ),
    "runs.statistics": GetStatistics(workflow_id=WORKFLOW_ID, since=AT, until=AT),
    "statistics.reply": StatisticsReply(since=AT, until=AT, total=Statistics(runs=1, completed=1), days=(DAY,)),
    "history.prune": PruneHistory(older_than_days=90),
    "prune.reply": PruneReply(
        dropped=(PrunedWeek(week=AT.date(), runs=3),), kept=(PrunedWeek(week=AT.date(), runs=4, open_runs=1),)
    ),
    "run.command": GetCommand(run_id=RUN_ID),
    "ends.find": FindEnds(run_ids=(RUN_ID,)),
    "outputs.find": FindOutputs(workflow_id=WORKFLOW_ID, node_ids=("ask",)),
    "waiting.find": FindWaiting(),
    "attempts.find": FindAttempts(attempts=(AttemptKey(run_id=RUN_ID, node_id="ask", attempt=2),)),
    "waiting.reply": WaitingReply(jobs=(WaitingJob(node_type="llm", queued_at=AT),)),
    "attempts.reply": AttemptsReply(
        attempts=(
            AttemptStand(
                run_id=RUN_ID,
                node_id="ask",
                attempt=2,
                run_status=RunStatus.RUNNING,
                owner="ann",
                status=NodeStatus.FAILED,
                latest=2,
                worker="host:1",
                error=PROBLEM,
            ),
        )
    ),
    "run.why": Explain(run_id=RUN_ID, node_id="ask"),
    "command.reply": CommandReply(command=RunStart(run_id=RUN_ID, graph=GRAPH)),
    "outputs.reply": OutputsReply(outputs={"ask": TEXT}, left=("crop",)),
    "ends.reply": EndsReply(runs=(RunEnd(run_id=RUN_ID, ended=True, cost=0.0015),)),
    "why.reply": WhyReply(
        status=RunStatus.RUNNING,
        nodes=(
            NodeExplanation(
                node_id="ask",
                status=NodeStatus.QUEUED,
                reasons=(
                    Reason(
                        code="no_consumer",
                        message="no worker consumes jobs.llm",
                        nodes=("crop",),
                        queue="jobs.llm",
                        messages=3,
                        consumers=0,
                        place=1,
                        since=AT,
                        until=AT,
                        attempt=1,
                        error=PROBLEM,
                    ),
                ),
            ),
        ),
        open_nodes=1,
    ),
    "runs.list": ListRuns(
        workflow_id=WORKFLOW_ID,
        owner="ann",
        status=(RunStatus.FAILED, RunStatus.PARTIAL),
        tag=("shop",),
        since=AT,
        until=AT,
        min_cost=0.1,
        max_cost=2,
        error="slow down",
        limit=10,
        after=RunCursor(created_at=AT, run_id=RUN_ID),
    ),
    "run.reply": RunReply(
        run=RunView(
            run_id=RUN_ID,
            status=RunStatus.COMPLETED,
            workflow_id=WORKFLOW_ID,
            resumed_from=WORKFLOW_ID,
            scope=Scope.SELECTED,
            created_at=AT,
            finished_at=AT,
            cached_nodes=1,
            tokens=15,
            cost=0.0015,
            result=RESULT,
            nodes=(
                NodeView(
                    node_id="ask",
                    node_type="llm",
                    status=NodeStatus.SUCCESS,
                    started_at=AT,
                    seconds=0.25,
                    worker="host:1",
                    output=TEXT,
                    usage=USAGE,
                    cached=True,
                    warnings=(PROBLEM,),
                    late=(LateResult(attempt=1, at=AT, outcome=NodeStatus.SUCCESS, usage=USAGE),),
                    attempts=(
                        AttemptView(
                            attempt=1,
                            status=NodeStatus.FAILED,
                            queued_at=AT,
                            started_at=AT,
                            finished_at=AT,
                            queue_seconds=0.5,
                            seconds=0.25,
                            worker="host:1",
                            error=PROBLEM,
                            usage=USAGE,
                        ),
                    ),
                ),
            ),
            tags=("shop",),
            metadata={"order": 17},
        ),
        next=NODE_CURSOR,
    ),
    "runs.reply": RunsReply(
        runs=(RunView(run_id=RUN_ID, status=RunStatus.RUNNING, created_at=AT),),
        next=RunCursor(created_at=AT, run_id=RUN_ID),
    ),
}


@pytest.fixture
def snapshot_json(snapshot):
    return snapshot.with_defaults(extension_class=JSONSnapshotExtension)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_wire_form_is_unchanged(name, snapshot_json):
    assert EXAMPLES[name].model_dump(mode="json", exclude_none=True) == snapshot_json(name=name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_written_is_read_back_equal(name):
    example = EXAMPLES[name]
    assert type(example).model_validate_json(example.to_json()) == example


@pytest.mark.parametrize("name", EXAMPLES)
def test_unknown_fields_are_ignored_on_reading(name):
    example = EXAMPLES[name]
    newer = {**example.model_dump(mode="json"), "schemaVersion": 2, "addedLater": {"x": 1}}
    if "schema_version" in type(example).model_fields:
        assert type(example).model_validate(newer) == example.model_copy(update={"schema_version": 2})
    else:
        assert type(example).model_validate(newer) == example


def test_every_message_has_an_example():
    assert {message.kind_name() for message in (*COMMANDS, *EVENTS)} <= EXAMPLES.keys()


def test_messages_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        EXAMPLES["run.start"].__setattr__("run_id", WORKFLOW_ID)
