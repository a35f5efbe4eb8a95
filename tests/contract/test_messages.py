"""The wire form of every message, pinned: a change that others would notice fails here first."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

from shared.contracts.errors import Problem
from shared.contracts.graph import Edge, Node, Position, WorkflowGraph
from shared.contracts.messages import (
    MESSAGES,
    JobInput,
    NodeAttempt,
    NodeExecute,
    NodeFailed,
    NodeQueued,
    NodeRetry,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeSummary,
    RunFinished,
    RunStart,
    RunStarted,
    Usage,
)
from shared.contracts.queries import GetRun, ListRuns, NodeView, RunReply, RunsReply, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import AssetRef, ImageValue, RecordValue, TextValue

RUN_ID = UUID("11111111-1111-4111-8111-111111111111")
WORKFLOW_ID = UUID("22222222-2222-4222-8222-222222222222")
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
PICTURE = ImageValue(asset=AssetRef(key="images/ab/abcd.jpg", media_type="image/jpeg", size=9, width=4, height=3))
TEXT = TextValue(text="Ünïcode — 你好")
RESULT = RecordValue(fields={"answer": TEXT})
PROBLEM = Problem(code="llm_refused", message="refused", where="model m", node_id="ask", fix="ask otherwise")
USAGE = Usage(model="m", input_tokens=12, output_tokens=3)
GRAPH = WorkflowGraph(
    name="demo",
    nodes=(
        Node(id="photo", type="upload_image", position=Position(x=1, y=2)),
        Node(id="crop", type="crop_image", name="Crop", params={"width": 50}),
    ),
    edges=(Edge(id="e1", source="photo", target="crop", target_handle="image"),),
)


def about(node_id: str, node_type: str) -> NodeAttempt:
    return NodeAttempt(run_id=RUN_ID, node_id=node_id, node_type=node_type, attempt=1)


EXAMPLES = {
    "run.start": RunStart(
        run_id=RUN_ID,
        graph=GRAPH,
        inputs={"photo": PICTURE},
        workflow_id=WORKFLOW_ID,
        workflow_version=1,
        trigger_run_id="order-17",
    ),
    "node.execute": NodeExecute(
        **about("crop", "crop_image"),
        params={"width": 50},
        inputs={"image": (JobInput(source="photo", value=PICTURE),)},
    ),
    "run.started": RunStarted(
        run_id=RUN_ID,
        at=AT,
        workflow_id=WORKFLOW_ID,
        workflow_version=1,
        workflow_name="demo",
        trigger_run_id="order-17",
        nodes=(
            NodeSummary(node_id="photo", node_type="upload_image", status=NodeStatus.SUCCESS, output=PICTURE),
            NodeSummary(node_id="crop", node_type="crop_image", name="Crop", status=NodeStatus.PENDING),
        ),
    ),
    "node.queued": NodeQueued(**about("crop", "crop_image"), at=AT),
    "node.started": NodeStarted(**about("crop", "crop_image"), at=AT, worker="host:1"),
    "node.succeeded": NodeSucceeded(**about("ask", "llm"), at=AT, output=TEXT, seconds=0.25, usage=USAGE),
    "node.failed": NodeFailed(**about("ask", "llm"), at=AT, error=PROBLEM, retryable=True, retry_after=2, seconds=1),
    "node.retrying": NodeRetrying(**about("ask", "llm"), at=AT, error=PROBLEM, retry_at=AT),
    "node.retry": NodeRetry(**about("ask", "llm"), at=AT),
    "node.skipped": NodeSkipped(**about("join", "llm"), at=AT, because_of="ask"),
    "run.finished": RunFinished(
        run_id=RUN_ID,
        at=AT,
        status=RunStatus.PARTIAL,
        total_nodes=3,
        successful_nodes=1,
        failed_nodes=1,
        skipped_nodes=1,
        nodes={"photo": NodeStatus.SUCCESS, "ask": NodeStatus.FAILED, "join": NodeStatus.SKIPPED},
        result=RESULT,
        problems=(PROBLEM,),
    ),
    "run.get": GetRun(run_id=RUN_ID),
    "runs.list": ListRuns(workflow_id=WORKFLOW_ID, limit=10),
    "run.reply": RunReply(
        run=RunView(
            run_id=RUN_ID,
            status=RunStatus.COMPLETED,
            workflow_id=WORKFLOW_ID,
            created_at=AT,
            finished_at=AT,
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
                ),
            ),
        )
    ),
    "runs.reply": RunsReply(runs=(RunView(run_id=RUN_ID, status=RunStatus.RUNNING, created_at=AT),)),
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
    assert {message.kind_name() for message in MESSAGES} <= EXAMPLES.keys()


def test_messages_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        EXAMPLES["run.start"].__setattr__("run_id", WORKFLOW_ID)
