"""`weft run` and `weft runs`, and what they ask of the gateway: parts of workflows, resumed runs, cancelled ones."""

import json
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import httpx2
import pytest
import typer
from PIL import Image

from cli.commands.spread import spread
from cli.edits import read_edits, typed
from cli.errors import ExitCode
from cli.main import run_command
from shared.contracts.errors import InvalidInputError
from shared.contracts.queries import NodeExplanation, NodeView, Reason, RunView, WhyReply
from shared.contracts.states import NodeStatus, RunStatus

RUN, NEW = UUID(int=7), UUID(int=8)
FLOW = {
    "nodes": [
        {"id": "photo", "type": "upload_image"},
        {"id": "crop", "type": "crop_image"},
        {"id": "ask", "type": "llm", "params": {"userMessage": "?"}},
        {"id": "out", "type": "response"},
    ],
    "edges": [
        {"source": "photo", "target": "crop", "targetHandle": "image"},
        {"source": "crop", "target": "ask", "targetHandle": "images"},
        {"source": "ask", "target": "out", "targetHandle": "answer"},
    ],
}
ASSET = {"key": "images/ab/x.png", "mediaType": "image/png", "size": 9, "width": 3, "height": 2}
TYPES = {"photo": "upload_image", "crop": "crop_image", "ask": "llm", "out": "response"}
OLD = RunView(
    run_id=RUN,
    status=RunStatus.FAILED,
    nodes=tuple(NodeView(node_id=name, node_type=kind, status=NodeStatus.FAILED) for name, kind in TYPES.items()),
)
ACCEPTED = RunView(run_id=NEW, status=RunStatus.QUEUED)
ENDED = RunView(run_id=NEW, status=RunStatus.COMPLETED, nodes=())


class FakeGateway:
    """Answers as a gateway does, and remembers what it was asked for: method and path, and body."""

    def __init__(self):
        self.asked = {}
        self.answers = {
            "POST /api/uploads": {"asset": ASSET},
            "POST /api/workflows": {"id": str(NEW), "version": 1, "name": "x", "createdAt": "2026-01-01T00:00:00Z"},
            f"GET /api/workflows/runs/{RUN}": OLD,
            f"GET /api/workflows/runs/{NEW}": ENDED,
            f"POST /api/workflows/runs/{RUN}/cancel": OLD.model_copy(update={"status": RunStatus.RUNNING}),
            f"GET /api/workflows/runs/{RUN}/why": WhyReply(status=RunStatus.RUNNING),
        }

    def __call__(self, request):
        place = f"{request.method} {request.url.path}"
        self.asked[place] = request.content if place == "POST /api/uploads" else json.loads(request.content or "{}")
        if request.url.path.endswith("/events"):
            content = f"event: run.snapshot\ndata: {ENDED.to_json().decode()}\n\n"
            return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text=content)
        answer = self.answers.get(place, ACCEPTED)
        return httpx2.Response(200, json=answer if isinstance(answer, dict) else json.loads(answer.to_json()))

    def body(self, ending):
        return next(body for place, body in self.asked.items() if place.endswith(ending))


@pytest.fixture
def gateway(monkeypatch):
    fake, connect = FakeGateway(), httpx2.AsyncClient

    def connect_to_fake(*, base_url, **_):
        return connect(base_url=base_url, transport=httpx2.MockTransport(fake))

    monkeypatch.setattr("httpx2.AsyncClient", connect_to_fake)
    monkeypatch.setenv("WEFT_GATEWAY_URL", "http://gateway.test")
    return fake


@pytest.fixture
def flow(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(FLOW))
    return str(path)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (3, 2)).save(path)
    return str(path)


def codes(capsys):
    return [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]


def test_a_full_run_asks_for_nothing_special(gateway, flow, photo, capsys):
    assert run_command(["run", "start", flow, "--image", f"photo={photo}"]) == ExitCode.OK
    assert capsys.readouterr().out.strip() == str(NEW)
    body = gateway.body("/execute")
    assert UUID(body.pop("runId"))
    assert body == {
        "scope": "full",
        "nodes": [],
        "inputs": {"photo": {"type": "image", "asset": ASSET}},
        "pinned": {},
        "options": {},
    }


@pytest.mark.parametrize(
    ("nodes", "scope"), [(["ask"], "single"), (["ask", "out"], "selected"), (["ask", "ask"], "single")]
)
def test_a_part_needs_no_inputs_of_the_rest(gateway, flow, nodes, scope):
    arguments = [argument for node in nodes for argument in ("--only", node)]
    assert run_command(["run", "start", flow, *arguments]) == ExitCode.OK
    body = gateway.body("/execute")
    assert (body["scope"], body["nodes"]) == (scope, list(dict.fromkeys(nodes)))


def test_how_a_run_is_carried_out(gateway, flow, photo):
    flags = ["--no-cache", "--max-cost", "0.5", "--max-tokens", "100", "--priority", "low", "--concurrency", "a=b=3"]
    flags += ["--run-timeout", "60", "--max-in-flight", "4", "--trigger-id", "mine"]
    assert run_command(["run", "start", flow, "--image", f"photo={photo}", *flags]) == ExitCode.OK
    assert gateway.body("/execute")["triggerRunId"] == "mine"
    assert gateway.body("/execute")["options"] == {
        "useCache": False,
        "budget": {"maxCost": 0.5, "maxTokens": 100},
        "priority": "low",
        "concurrency": {"key": "a=b", "limit": 3},
        "timeout": 60.0,
        "maxInFlight": 4,
    }


def test_outputs_are_pinned_as_texts_pictures_and_files(gateway, flow, photo, tmp_path):
    record = {"type": "record", "fields": {"answer": {"type": "text", "text": "no"}}}
    (tmp_path / "out.json").write_text(json.dumps(record))
    pins = ["--pin", f"crop={photo}", "--pin", "ask=a=b", "--pin", f"out={tmp_path / 'out.json'}"]
    assert run_command(["run", "start", flow, "--only", "ask", *pins]) == ExitCode.OK
    assert gateway.body("/execute")["pinned"] == {
        "crop": {"type": "image", "asset": ASSET},
        "ask": {"type": "text", "text": "a=b"},
        "out": record,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "nobody"], ["unknown_node"]),
        (["--only", "ask", "--pin", "nobody=x"], ["unknown_node"]),
        (["--only", "ask", "--pin", "out=x"], ["invalid_option"]),
        (["--only", "ask", "--pin", "ask"], ["invalid_option"]),
        (["--only", "ask", "--pin", "crop=absent.png"], ["file_unreadable"]),
        (["--only", "ask", "--pin", "ask=absent.json"], ["file_unreadable"]),
        (["--only", "ask", "--set", "tone=x", "--pin", "ask"], ["invalid_option", "unknown_input"]),
        (["--only", "ask", "--concurrency", "=3"], ["invalid_option"]),
        (["--only", "ask", "--concurrency", "key=many"], ["invalid_option"]),
        (["--only", "photo"], ["missing_input"]),
        ([], ["missing_input"]),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(gateway, flow, capsys, arguments, expected):
    assert run_command(["run", "start", flow, *arguments]) == ExitCode.USAGE
    assert codes(capsys) == expected
    assert gateway.asked == {}


def test_a_pinned_file_that_holds_no_output_is_named(gateway, flow, capsys, tmp_path):
    path = tmp_path / "pin.json"
    path.write_text('{"type": "noise"}')
    assert run_command(["run", "start", flow, "--only", "ask", "--pin", f"ask={path}"]) == ExitCode.USAGE
    assert codes(capsys) == ["invalid_value"]


def test_an_output_of_the_wrong_type_is_refused(gateway, flow, capsys, tmp_path):
    path = tmp_path / "pin.json"
    path.write_text('{"type": "text", "text": "no picture"}')
    assert run_command(["run", "start", flow, "--only", "ask", "--pin", f"crop={path}"]) == ExitCode.USAGE
    assert codes(capsys) == ["type_mismatch"]


def test_a_run_is_resumed_with_edits_and_followed(gateway, photo, capsys):
    edits = ["--param", "ask.userMessage=12", "--param", "crop.width=12", "--from-node", "crop"]
    inputs = ["--set", "tone=loud", "--image", f"photo={photo}"]
    assert run_command(["runs", "resume", str(RUN), *edits, *inputs, "--max-cost", "1"]) == ExitCode.OK
    assert f"Run {NEW} completed" in capsys.readouterr().out
    body = gateway.body("/resume")
    assert body.pop("runId")
    assert body == {
        "from": "failed",
        "fromNode": "crop",
        "params": {"ask": {"userMessage": "12"}, "crop": {"width": 12}},
        "inputs": {"tone": {"type": "text", "text": "loud"}, "photo": {"type": "image", "asset": ASSET}},
        "options": {"budget": {"maxCost": 1.0}},
    }


def test_a_run_is_resumed_from_its_start_and_left_alone(gateway, capsys):
    assert run_command(["runs", "resume", str(RUN), "--from-start", "--no-follow", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"runId": str(NEW)}
    assert gateway.body("/resume")["from"] == "start"
    assert f"GET /api/workflows/runs/{RUN}" not in gateway.asked


@pytest.mark.parametrize("wrong", [["--param", "userMessage=x"], ["--from-start", "--from-node", "ask"]])
def test_what_no_resumption_means_is_refused(gateway, capsys, wrong):
    assert run_command(["runs", "resume", str(RUN), *wrong]) == ExitCode.USAGE
    assert codes(capsys) == ["invalid_option"]
    assert gateway.asked == {}


def test_a_run_is_replayed(gateway, capsys):
    assert run_command(["runs", "replay", str(RUN), "--trigger-id", "again", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["runId"] == str(NEW)
    assert gateway.body("/replay")["triggerRunId"] == "again"


def test_a_cancel_asks_for_confirmation(gateway, capsys):
    assert run_command(["runs", "cancel", str(RUN)]) == ExitCode.USAGE
    assert codes(capsys) == ["confirmation_needed"]
    assert gateway.asked == {}


@pytest.mark.parametrize(("answer", "code"), [(True, ExitCode.OK), (False, ExitCode.INTERRUPTED)])
def test_a_cancel_is_confirmed_at_a_terminal(gateway, monkeypatch, answer, code):
    def confirm(*_, **__):
        if not answer:
            raise typer.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    assert run_command(["runs", "cancel", str(RUN)]) == code
    assert bool(gateway.asked) is answer


def test_a_script_cancels_without_being_asked(gateway, capsys):
    assert run_command(["runs", "cancel", str(RUN), "-y", "--reason", "enough", "-o", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert gateway.body("/cancel") == {"reason": "enough"}


def test_why_is_told_in_words_and_as_json(gateway, capsys):
    reason = Reason(code="no_consumer", message="no worker consumes jobs.llm")
    limit = Reason(code="budget_exceeded", message="no further model is asked")
    node = NodeExplanation(node_id="ask", status=NodeStatus.QUEUED, reasons=(reason,))
    reply = WhyReply(status=RunStatus.RUNNING, reasons=(limit,), nodes=(node,), open_nodes=2)
    gateway.answers[f"GET /api/workflows/runs/{RUN}/why"] = reply
    assert run_command(["runs", "why", str(RUN), "ask"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"Run {RUN} running: 2 nodes have not ended"
    assert "budget_exceeded: no further model is asked" in out
    assert "no_consumer: no worker consumes jobs.llm" in out
    assert run_command(["runs", "why", str(RUN), "-o", "json"]) == ExitCode.OK
    assert WhyReply.model_validate_json(capsys.readouterr().out) == reply


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ask.userMessage=12", "12"),
        ("ask.user_message=a=b", "a=b"),
        ("ask.model=null", "null"),
        ("ask.temperature=0.5", 0.5),
        ("ask.temperature=null", None),
        ("ask.temperature=hot", "hot"),
        ("ask.temperature=NaN", "NaN"),
        ("crop.unit=px", "px"),
        ("crop.unit=cm", "cm"),
        ('photo.asset={"key": "k"}', {"key": "k"}),
        ("unknown.anything=12", 12),
        ("unknown.anything=some text", "some text"),
        ("ask.nonsense=true", True),
        ("node.with.dots.width=1", 1),
    ],
)
def test_a_param_is_a_text_where_it_takes_one_and_json_elsewhere(option, value):
    ((_, params),) = typed(read_edits([option]), TYPES).items()
    assert list(params.values()) == [value]


def test_params_of_one_node_are_edited_together():
    assert read_edits(["a.b.x=1", "a.b.y=2", "c.x=3"]) == {"a.b": {"x": "1", "y": "2"}, "c": {"x": "3"}}


def test_all_params_that_say_nothing_are_named():
    with pytest.raises(InvalidInputError) as caught:
        read_edits(["x", "y=1", ".z=1", "a.=1", "a.b=1", "a.b=2"])
    assert [problem.code for problem in caught.value.problems] == ["invalid_option"] * 5


@dataclass(frozen=True)
class Flags:
    loud: bool = False
    names: Annotated[list[str] | None, typer.Option("--name")] = None


def test_commands_share_options_by_dataclasses(capsys):
    app = typer.Typer()

    @app.command()
    @spread
    def shout(what: str, *, flags: Flags, times: int = 1) -> None:
        typer.echo(f"{what} {flags} {times}")

    app(["hey", "--loud", "--name", "a", "--name", "b", "--times", "2"], standalone_mode=False)
    assert capsys.readouterr().out.strip() == "hey Flags(loud=True, names=['a', 'b']) 2"
