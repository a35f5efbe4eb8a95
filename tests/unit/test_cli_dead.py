"""`weft dead`: what it asks of the gateway, and what it writes."""

import json
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import httpx2
import pytest
from rich.console import Console

from cli.errors import ExitCode
from cli.letter_tables import LettersTable, letter_details, result_line, summary
from cli.letters import read_rate
from cli.main import run_command
from shared.contracts.dead_letters import DeadLetter, DeadLetterPage, LetterOutcome, LetterResult, LettersReply
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.states import NodeStatus, RunStatus

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CRASHED = Problem(code="worker_crashed", message="the job was given up after every worker had ended", node_id="ask")
JOB = DeadLetter(
    id=16 * "a",
    queue="dead.jobs.llm",
    kind="node.execute",
    message_id="1/ask/2/node.execute",
    run_id=UUID(int=1),
    node_id="ask",
    node_type="llm",
    attempt=2,
    died_at=AT,
    died_in="jobs.llm.suspect",
    reason="delivery_limit",
    deaths=2,
    code="worker_crashed",
    error=CRASHED,
    worker="host:17",
    run_status=RunStatus.PARTIAL,
    node_status=NodeStatus.FAILED,
    owner="shop",
    bytes=1_234,
    exchange="weft.dead",
    routing_key="jobs.llm.suspect",
    body='{"[bold]": 1}',
    encoding="utf-8",
)
POISON = DeadLetter(
    id=16 * "b",
    queue="dead.orchestrator.results",
    readable=False,
    died_at=AT,
    reason="rejected",
    code="rejected",
    bytes=3,
)
BUNDLE = DeadLetter(
    id=16 * "c",
    queue="dead.orchestrator.results",
    kind="events",
    run_ids=(UUID(int=1), UUID(int=2)),
    died_at=AT,
    reason="rejected",
    code="rejected",
    bytes=700,
)
PAGE = DeadLetterPage(letters=(JOB, POISON, BUNDLE), total=1_002, next_cursor="abc")
DONE = LetterResult(id=JOB.id, outcome=LetterOutcome.RESUMED, run_id=UUID(int=1), node_id="ask", resumed_as=UUID(int=2))
FAILED = LetterResult(id=POISON.id, outcome=LetterOutcome.FAILED, problem=CRASHED)


class Gateway:
    """Answers as a gateway with 3 dead letters, one in each answer at most; the last of them fails."""

    def __init__(self):
        self.asked = []

    def __call__(self, request):
        body = json.loads(request.content) if request.content else dict(request.url.params)
        self.asked.append((request.url.path, body))
        if request.url.path.endswith(("/replay", "/drop")):
            return self.treat(int(body.get("cursor", 0)))
        if request.url.path.endswith(JOB.id):
            return httpx2.Response(200, content=JOB.to_json())
        page = PAGE if "cursor" not in body else PAGE.model_copy(update={"next_cursor": None})
        return httpx2.Response(200, content=page.to_json())

    @staticmethod
    def treat(done):
        following = str(done + 1) if done < 2 else None
        reply = LettersReply(results=(DONE if following else FAILED,), left=2 - done, next_cursor=following)
        return httpx2.Response(200, content=reply.to_json())


@pytest.fixture
def gateway(monkeypatch):
    gateway, connect = Gateway(), httpx2.AsyncClient

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(gateway))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return gateway


def rendered(content, width):
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


@pytest.mark.parametrize("width", [80, 120])
def test_dead_letters_are_shown_to_people(width, snapshot):
    assert rendered(LettersTable(PAGE), width) == snapshot


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("letter", [JOB, POISON, BUNDLE], ids=["job", "poison", "bundle"])
def test_a_dead_letter_is_shown_to_people(letter, width, snapshot):
    assert rendered(letter_details(letter), width) == snapshot


def test_they_are_written_as_json_alone(gateway, capsys):
    wishes = [
        "--node-type",
        "llm",
        "--code",
        "worker_crashed",
        "--run",
        str(UUID(int=1)),
        "--since",
        "2026-01-01T00:00Z",
    ]
    assert run_command(["dead", "list", *wishes, "-o", "json"]) == ExitCode.OK
    assert DeadLetterPage.model_validate_json(capsys.readouterr().out) == PAGE
    assert gateway.asked == [
        (
            "/api/dead-letters",
            {
                "nodeType": "llm",
                "runId": str(UUID(int=1)),
                "code": "worker_crashed",
                "since": "2026-01-01T00:00:00+00:00",
                "limit": "50",
            },
        )
    ]


def test_one_is_shown_with_its_body(gateway, capsys):
    assert run_command(["dead", "show", JOB.id]) == ExitCode.OK
    assert '{"[bold]": 1}' in capsys.readouterr().out


def test_all_pages_are_exported_a_line_each(gateway, capsys):
    assert run_command(["dead", "export", "--queue", "dead.jobs.llm"]) == ExitCode.OK
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [
        JOB.id,
        POISON.id,
        BUNDLE.id,
    ] * 2
    assert [body.get("cursor") for _, body in gateway.asked] == [None, "abc"]


def test_they_are_replayed_until_none_is_left_and_what_failed_is_told(gateway, capsys):
    assert run_command(["dead", "replay", "--all", "-y", "--param", "model=other"]) == ExitCode.RUN_FAILED
    told = capsys.readouterr()
    assert told.out == "2 resumed, 1 failed\n"
    assert "worker_crashed" in told.err
    assert "1 treated, 2 left" in told.err
    selection = {"all": True, "params": {"model": "other"}, "limit": 100}
    assert gateway.asked[0] == ("/api/dead-letters/replay", selection)
    assert gateway.asked[2][1]["cursor"] == "2"


def test_each_result_is_a_line_of_json(gateway, capsys):
    assert run_command(["dead", "drop", JOB.id, "-y", "-o", "jsonl", "--limit", "2"]) == ExitCode.OK
    assert [json.loads(line)["outcome"] for line in capsys.readouterr().out.splitlines()] == ["resumed"] * 2
    assert [body["limit"] for _, body in gateway.asked] == [2, 1]
    assert gateway.asked[0][1]["ids"] == [JOB.id]


def test_a_rate_makes_requests_small(gateway):
    run_command(["dead", "replay", "--all", "-y", "--rate", "50/s", "--limit", "1"])
    run_command(["dead", "replay", "--node-type", "llm", "-y", "--rate", "50/s"])
    assert gateway.asked[1][1] == {"filter": {"nodeType": "llm"}, "limit": 50}


@pytest.mark.parametrize("verb", ["replay", "drop"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--all"], "confirmation_needed"),
        (["-y"], "invalid_option"),
        (["-y", "--all", JOB.id], "invalid_option"),
        (["-y", "--all", "--rate", "fast"], "invalid_option"),
    ],
)
def test_it_must_be_clear_what_is_meant(gateway, capsys, verb, arguments, code):
    assert run_command(["dead", verb, *arguments]) == ExitCode.USAGE
    assert code in capsys.readouterr().err
    assert gateway.asked == []


@pytest.mark.parametrize(("text", "rate"), [("20/s", 20), ("0.5", 0.5)])
def test_a_rate_is_read(text, rate):
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "20/m", "-1/s", ""])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(InvalidInputError, match="invalid_option"):
        read_rate(text)


def test_results_are_told_in_a_line():
    assert result_line(DONE) == f"{JOB.id} {UUID(int=1)}/ask resumed as {UUID(int=2)}"
    assert summary(Counter()) == "nothing to do"
