"""What a person sees who gives `weft` something that it cannot use: one line per problem, the right exit code."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cli.supervisor import Supervisor
from shared.contracts.errors import UnavailableError
from shared.embedded import rabbitmq
from shared.settings import Settings

WEFT = Path(sys.executable).with_name("weft")
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WORKFLOW = str(EXAMPLES / "workflow.json")
PHOTO = f"photo={EXAMPLES / 'photo.jpg'}"
NOWHERE = "127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture
def weft(tmp_path):
    """Return a function that runs `weft` in an empty folder, checks the form of its errors, and returns its end."""

    def run(*arguments, **variables):
        env = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")} | variables
        done = subprocess.run(
            [WEFT, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=env
        )
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.returncode, [line for line in done.stderr.splitlines() if line]

    return run


def codes(lines):
    assert all(line.startswith("weft: ") for line in lines)
    return [line.split(": ")[1] for line in lines]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("not json", ["invalid_json"]),
        ('{"nodes": {"a": 1}}', ["invalid_workflow"]),
        ('{"nodes": [{"id": "a", "type": "x"}, {"id": "a", "type": "llm"}]}', ["duplicate_id", "unknown_type"]),
    ],
)
def test_a_broken_workflow_file(weft, tmp_path, content, expected):
    (tmp_path / "flow.json").write_text(content)
    exit_code, lines = weft("run", "execute", "flow.json")
    assert exit_code == 2
    assert set(codes(lines)) >= set(expected)
    assert all("flow.json" in line for line in lines)


def test_a_missing_workflow_file(weft):
    exit_code, lines = weft("run", "start", "absent.json")
    what = "cannot read absent.json: there is no such file (absent.json) -> name a file that can be read"
    assert (exit_code, lines) == (2, [f"weft: file_unreadable: {what}"])


def test_all_that_is_wrong_with_the_inputs_is_told_at_once(weft, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    options = ("--image", "photo=notes.txt", "--image", "picture=absent.jpg", "--image", "alone", "--set", "tone=loud")
    exit_code, lines = weft("run", "execute", WORKFLOW, *options)
    assert exit_code == 2
    assert sorted(codes(lines)) == [
        "file_unreadable",
        "invalid_option",
        "unknown_input",
        "unknown_input",
        "unsupported_format",
    ]
    assert sum("it asks for: photo" in line for line in lines) == 2


def test_a_picture_that_was_not_supplied(weft):
    exit_code, (line,) = weft("run", "execute", WORKFLOW)
    assert exit_code == 2
    assert "missing_input" in line
    assert "--image photo=" in line


@pytest.mark.parametrize(
    "command", [("runs", "list"), ("queues", "list"), ("run", "execute", WORKFLOW, "--image", PHOTO)]
)
@pytest.mark.parametrize("variables", [{}, {"WEFT_GATEWAY_URL": f"http://{NOWHERE}"}])
def test_no_gateway(weft, command, variables):
    exit_code, (line,) = weft(*command, **variables)
    assert (exit_code, codes([line])) == (69, ["gateway_unreachable"])
    assert "weft dev" in line


@pytest.mark.parametrize("variables", [{}, {"WEFT_AMQP_URL": f"amqp://guest:secret@{NOWHERE}/"}])
def test_no_broker(weft, variables):
    exit_code, (line,) = weft("history", "prune", "--older-than", "90d", "-y", **variables)
    assert (exit_code, codes([line])) == (69, ["broker_unreachable"])
    assert "secret" not in line


def test_setup_without_anything_to_set_up(weft):
    exit_code, (line,) = weft("setup")
    assert (exit_code, codes([line])) == (2, ["setting_missing"])


@pytest.mark.parametrize("command", [("runs", "list"), ("dev",), ("demo",)])
def test_variables_that_are_no_settings(weft, command):
    exit_code, lines = weft(*command, WEFT_LLM_TIMEOUT="soon", WEFT_AMQP_URL="localhost")
    assert (exit_code, codes(lines)) == (2, ["invalid_setting"] * 2)
    assert any("WEFT_LLM_TIMEOUT" in line for line in lines)


@pytest.mark.parametrize("command", ["dev", "demo"])
def test_a_database_that_is_not_there(weft, stack, tmp_path, command):
    addresses = {"WEFT_AMQP_URL": stack.amqp_url, "WEFT_DATABASE_URL": f"postgresql://weft:secret@{NOWHERE}/weft"}
    exit_code, lines = weft(command, **addresses)
    assert (exit_code, codes(lines[-1:])) == (69, ["database_unreachable"])
    assert "secret" not in lines[-1]
    assert_nothing_runs_in(tmp_path)


def test_a_port_that_is_taken(weft, stack, tmp_path):
    taken = stack.amqp_url.rpartition(":")[2].strip("/")
    exit_code, (line,) = weft("dev", "--port", taken)
    assert (exit_code, codes([line])) == (69, ["port_taken"])
    assert_nothing_runs_in(tmp_path)


def test_no_rabbitmq_to_be_found(tmp_path, monkeypatch):
    monkeypatch.setattr(rabbitmq, "find_or_install", lambda: None)
    monkeypatch.setattr(rabbitmq, "docker_answers", lambda: False)
    with pytest.raises(UnavailableError, match="rabbitmq_not_found") as caught:
        Supervisor(tmp_path / ".weft", Settings()).start()
    assert "WEFT_AMQP_URL" in (caught.value.problems[0].fix or "")
    assert_nothing_runs_in(tmp_path)


def assert_nothing_runs_in(folder):
    home = folder / ".weft"
    assert not (home / "services.json").exists()
    assert not (home / "stack.json").exists()
    logs = str(home / "logs")
    for process in psutil.process_iter(["open_files"]):
        assert not any(file.path.startswith(logs) for file in process.info["open_files"] or ())
