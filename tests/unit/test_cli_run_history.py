"""`weft runs events | timeline | watch | tail | why --watch`: what they ask, what they write, how they end."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import pytest

from cli.errors import ExitCode
from cli.happenings import history_of
from cli.main import run_command
from cli.tail_lines import TailLines
from shared.client.requests import Timeline
from shared.contracts.errors import Problem
from shared.contracts.events import NodeRetrying, NodeSummary, RunFinished, RunStarted
from shared.contracts.history import TimelineEntry
from shared.contracts.queries import AttemptView, LateResult, NodeView, Reason, RunPage, RunView, WhyReply
from shared.contracts.states import NodeStatus, RunStatus

RUN, WORKFLOW = UUID(int=7), UUID(int=9)
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITED = Problem(code="llm_rate_limited", message="slow down")
RUN_PATH = f"/api/workflows/runs/{RUN}"


def at(seconds):
    return START + timedelta(seconds=seconds)


def times(queued, started, finished):
    moments = {"queued_at": at(queued), "started_at": at(started), "finished_at": at(finished)}
    return {**moments, "queue_seconds": started - queued}


def attempt(number, *seconds, status=NodeStatus.SUCCESS, error=None):
    took = seconds[2] - seconds[1]
    return AttemptView.model_validate(
        {"attempt": number, "status": status, "seconds": took, "worker": "w:1", "error": error, **times(*seconds)}
    )


def entry(node_id, number, *seconds, status=NodeStatus.SUCCESS, **more):
    return TimelineEntry(node_id=node_id, attempt=number, status=status, **times(*seconds), **more)


NODES = (
    NodeView(node_id="photo", node_type="upload_image", status=NodeStatus.SUCCESS, finished_at=at(0)),
    NodeView(
        node_id="ask",
        name="Ask",
        status=NodeStatus.SUCCESS,
        attempt=2,
        attempts=(attempt(1, 1, 2, 4, status=NodeStatus.FAILED, error=LIMITED), attempt(2, 6, 7, 10)),
        late=(LateResult(attempt=1, at=at(11), outcome=NodeStatus.SUCCESS),),
    ),
    NodeView(node_id="after", status=NodeStatus.SKIPPED),
)
ENDED = RunView(
    run_id=RUN,
    status=RunStatus.PARTIAL,
    workflow_name="halves",
    created_at=at(0),
    finished_at=at(12),
    total_nodes=3,
    successful_nodes=2,
    nodes=NODES,
)
TIMELINE = Timeline(
    run_id=RUN,
    created_at=at(0),
    finished_at=at(20),
    entries=(
        TimelineEntry(node_id="photo", status=NodeStatus.SUCCESS, finished_at=at(0)),
        entry("left", 1, 0, 5, 10, name="Left third of the picture, as it is called"),
        entry("ask", 1, 10, 10.01, 14, status=NodeStatus.FAILED),
        entry("ask", 2, 16, 18, 20),
        entry("blink", 1, 19.99, 19.999, 20, name="Blink"),
        TimelineEntry(node_id="reused", status=NodeStatus.SUCCESS, finished_at=at(1), cached=True),
        TimelineEntry(node_id="after", status=NodeStatus.SKIPPED),
    ),
)
STARTED = RunStarted(
    run_id=RUN,
    at=at(0),
    workflow_id=WORKFLOW,
    workflow_name="halves",
    nodes=(NodeSummary(node_id="ask", node_type="llm", name="Ask", status=NodeStatus.PENDING),),
)
RETRYING = NodeRetrying(run_id=RUN, node_id="ask", node_type="llm", at=at(4), error=LIMITED, retry_at=at(6))
FINISHED = RunFinished(
    run_id=RUN, at=at(12), status=RunStatus.PARTIAL, total_nodes=3, successful_nodes=2, failed_nodes=1
)


def sse(*updates):
    kinds = {RunView: "run.snapshot", RunPage: "workflow.snapshot"}
    text = "".join(
        f"event: {kinds.get(type(item)) or item.kind}\ndata: {item.to_json().decode()}\nid: {number}\n\n"
        for number, item in enumerate(updates)
    )
    return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)


@pytest.fixture
def answers(monkeypatch):
    """The answers of a gateway, by path; of a list, one after the other, the last one again and again."""
    answers, connect = {RUN_PATH: ENDED, f"{RUN_PATH}/timeline": TIMELINE}, httpx2.AsyncClient

    def answer(request):
        found = answers[request.url.path]
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        return found if isinstance(found, httpx2.Response) else httpx2.Response(200, content=found.to_json())

    monkeypatch.setattr(
        "httpx2.AsyncClient",
        lambda *, base_url, **_: connect(base_url=base_url, transport=httpx2.MockTransport(answer)),
    )
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return answers


@pytest.mark.parametrize("width", [80, 120])
def test_a_timeline_is_drawn(answers, capsys, monkeypatch, snapshot, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_command(["runs", "timeline", str(RUN)]) == ExitCode.OK
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert out == snapshot


def test_of_a_long_timeline_the_longest_attempts_are_drawn(answers, capsys):
    assert run_command(["runs", "timeline", str(RUN), "--limit", "2"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "Left third" in out
    assert "Blink" not in out
    assert "5 shorter attempts are left out" in out


def test_a_timeline_is_json(answers, capsys):
    assert run_command(["runs", "timeline", str(RUN), "-o", "json"]) == ExitCode.OK
    assert Timeline.model_validate_json(capsys.readouterr().out) == TIMELINE


def test_a_run_of_which_nothing_is_known_has_an_empty_timeline(answers, capsys):
    answers[f"{RUN_PATH}/timeline"] = Timeline(run_id=RUN, entries=())
    assert run_command(["runs", "timeline", str(RUN)]) == ExitCode.OK
    assert "node" in capsys.readouterr().out


def test_events_are_listed_in_order(answers, capsys):
    assert run_command(["runs", "events", str(RUN), "-o", "jsonl"]) == ExitCode.OK
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["kind"], event.get("attempt")) for event in events] == [
        ("run.created", None),
        ("node.succeeded", None),
        ("node.queued", 1),
        ("node.started", 1),
        ("node.retrying", 1),
        ("node.queued", 2),
        ("node.started", 2),
        ("node.succeeded", 2),
        ("node.late", 1),
        ("run.finished", None),
    ]
    assert events[4]["error"]["code"] == "llm_rate_limited"


def test_events_are_json_and_a_table(answers, capsys, snapshot):
    assert run_command(["runs", "events", str(RUN), "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == json.loads(history_of(ENDED).to_json())
    assert run_command(["runs", "events", str(RUN)]) == ExitCode.OK
    assert capsys.readouterr().out == snapshot


@pytest.mark.parametrize("command", [["runs", "watch", str(RUN)], ["runs", "get", str(RUN), "--watch"]])
def test_a_run_is_watched_to_its_end(answers, capsys, command):
    running = ENDED.model_copy(update={"status": RunStatus.RUNNING, "finished_at": None})
    answers[RUN_PATH] = [running, ENDED]
    answers[f"{RUN_PATH}/events"] = sse(running, RETRYING, FINISHED)
    assert run_command([*command, "-o", "json"]) == ExitCode.RUN_FAILED
    out, err = capsys.readouterr()
    assert RunView.model_validate_json(out).status is RunStatus.PARTIAL
    assert "Ask: success (attempt 2)" in err


def test_a_run_that_does_not_end_in_time_is_not_waited_for(answers, capsys):
    running = ENDED.model_copy(update={"status": RunStatus.RUNNING, "finished_at": None})
    answers[RUN_PATH] = running
    answers[f"{RUN_PATH}/events"] = sse(running)
    assert run_command(["runs", "watch", str(RUN), "--timeout", "0.05"]) == ExitCode.TIMED_OUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("weft: wait_timed_out: ")


def test_reasons_are_told_once_each_until_the_end(answers, capsys, monkeypatch):
    monkeypatch.setattr("cli.reasons.LOOK_SECONDS", 0)
    waits = WhyReply(status=RunStatus.RUNNING, reasons=(Reason(code="window_full", message="others are first"),))
    away = httpx2.Response(503, json={"problems": [{"code": "no_answer", "message": "away"}]})
    answers[f"{RUN_PATH}/why"] = [waits, waits, away, WhyReply(status=RunStatus.COMPLETED)]
    assert run_command(["runs", "why", str(RUN), "--watch", "-o", "json"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [WhyReply.model_validate_json(line).status for line in lines] == ["running", "completed"]


def test_reasons_are_not_watched_for_ever(answers, capsys):
    answers[f"{RUN_PATH}/why"] = WhyReply(status=RunStatus.RUNNING)
    assert run_command(["runs", "why", str(RUN), "--watch", "--timeout", "0.05"]) == ExitCode.TIMED_OUT
    assert "running" in capsys.readouterr().out


def test_the_runs_of_a_workflow_are_tailed(answers, capsys):
    goes_on = ENDED.model_copy(update={"run_id": UUID(int=8), "status": RunStatus.RUNNING, "finished_at": None})
    page = RunPage(runs=(goes_on, ENDED))
    answers[f"/api/workflows/{WORKFLOW}/events"] = sse(page, STARTED, RETRYING, FINISHED)
    command = ["runs", "tail", "--workflow", str(WORKFLOW), "--timeout", "0.2"]
    assert run_command(command) == ExitCode.TIMED_OUT
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "12:00:00  00000000-0000-0000-0000-000000000008  is running  halves",
        "12:00:00  00000000-0000-0000-0000-000000000007  run.started  halves  1 nodes",
        "12:00:04  00000000  node.retrying  Ask  in 2.0 s: llm_rate_limited: slow down",
        "12:00:12  00000000-0000-0000-0000-000000000007  run.finished  partial: 2 of 3 nodes succeeded",
    ]


def test_the_newest_workflows_are_tailed_as_json_lines(answers, capsys):
    kept = {"id": str(WORKFLOW), "version": 1, "name": "x", "createdAt": "2026-01-01T00:00:00Z"}
    answers["/api/workflows"] = httpx2.Response(200, json={"workflows": [kept]})
    answers[f"/api/workflows/{WORKFLOW}/events"] = sse(RunPage(runs=()), FINISHED)
    assert run_command(["runs", "tail", "--timeout", "0.2", "-o", "jsonl"]) == ExitCode.TIMED_OUT
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines[:2]] == ["workflow.snapshot", "run.finished"]
    assert lines[0]["workflowId"] == str(WORKFLOW)


def test_a_gateway_that_refuses_ends_a_tail(answers, capsys):
    problem = {"problems": [{"code": "database_unavailable", "message": "away"}]}
    answers["/api/workflows"] = httpx2.Response(503, json=problem)
    assert run_command(["runs", "tail"]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr() == ("", "weft: database_unavailable: away\n")


def test_a_run_that_ended_before_is_no_news_and_one_that_just_ended_is():
    lines = TailLines(at(10))
    old = ENDED.model_copy(update={"run_id": UUID(int=5), "finished_at": at(9)})
    assert len(list(lines.lines(RunPage(runs=(ENDED, old))))) == 1
    assert list(lines.lines(RunPage(runs=(ENDED, old)))) == []
