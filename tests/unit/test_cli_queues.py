"""`weft queues`: what it asks of the gateway, and what it writes."""

import json
from datetime import UTC, datetime

import httpx2
import pytest
from rich.console import Console

from cli.errors import ExitCode
from cli.main import run_command
from cli.queue_tables import duration, queue_table, queues_table
from shared.contracts.errors import Problem
from shared.contracts.queues import LevelSource, MessageRates, NodeTypeLevel, QueueDetails, QueueLevel, QueuesView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GROWING = Problem(code="growing_backlog", message="5.0 jobs of llm arrive in a second, and 2.5 end", where="llm")
NOBODY = Problem(code="no_consumer", message="nobody consumes the queue orchestrator.commands", fix="start the service")
BLOCKED = Problem(code="publishers_blocked", message="the broker takes no messages", fix="give it memory")
LLM = NodeTypeLevel(
    node_type="llm",
    waiting=12_345,
    in_hand=8,
    consumers=1,
    dead_letters=1_000,
    oldest_queued_at=NOW,
    oldest_seconds=754,
    arriving=5,
    finishing=2.5,
    drain_seconds=4_938,
    warnings=(GROWING,),
)
QUEUES = (
    QueueLevel(
        name="jobs.llm",
        node_type="llm",
        ready=12_345,
        unacked=8,
        consumers=1,
        rates=MessageRates(published=5, delivered=2.5, acknowledged=2.5),
    ),
    QueueLevel(name="orchestrator.commands", ready=3, consumers=0, warnings=(NOBODY,)),
    QueueLevel(name="dead.jobs.llm", node_type="llm", holds_dead_letters=True, exists=False),
)
VIEW = QueuesView(
    at=NOW,
    source=LevelSource.MANAGEMENT,
    window_seconds=300,
    node_types=(LLM, NodeTypeLevel(node_type="crop_image", waiting=0, drain_seconds=0)),
    queues=QUEUES,
    warnings=(BLOCKED,),
)
DETAILS = QueueDetails(at=NOW, source=LevelSource.AMQP, queue=QUEUES[0], node_type=LLM, warnings=(BLOCKED,))


@pytest.fixture
def asked(monkeypatch):
    """The paths that the gateway was asked for."""
    paths, connect = [], httpx2.AsyncClient

    def answer(request):
        paths.append(request.url.raw_path.decode())
        return httpx2.Response(200, content=(VIEW if request.url.path == "/api/queues" else DETAILS).to_json())

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return paths


def rendered(content, width):
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


@pytest.mark.parametrize("width", [80, 120])
def test_queues_are_shown_to_people(width, snapshot):
    assert rendered(queues_table(VIEW), width) == snapshot


@pytest.mark.parametrize("width", [80, 120])
def test_a_queue_is_shown_to_people(width, snapshot):
    assert rendered(queue_table(DETAILS), width) == snapshot


def test_queues_are_written_as_json_alone(asked, capsys):
    assert run_command(["queues", "list", "-o", "json"]) == ExitCode.OK
    assert QueuesView.model_validate_json(capsys.readouterr().out) == VIEW
    assert asked == ["/api/queues"]


def test_a_queue_is_asked_for_by_its_name(asked, capsys):
    assert run_command(["queues", "show", "jobs/llm", "-o", "json"]) == ExitCode.OK
    assert QueueDetails.model_validate_json(capsys.readouterr().out) == DETAILS
    assert asked == ["/api/queues/jobs%2Fllm"]


def test_each_look_is_a_line(asked, capsys):
    assert run_command(["queues", "watch", "--times", "3", "--every", "0.2", "-o", "jsonl"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["management"] * 3


def test_in_a_pipe_tables_are_written_below_each_other(asked, capsys):
    assert run_command(["queues", "watch", "--times", "2", "--every", "0.2"]) == ExitCode.OK
    assert capsys.readouterr().out.count("growing_backlog") == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (0, "0 s"), (59, "59 s"), (90, "1.5 min"), (5_400, "1.5 h"), (172_800, "2.0 d")]
)
def test_durations_are_told_in_one_unit(seconds, text):
    assert duration(seconds) == text
