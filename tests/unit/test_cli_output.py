"""What the command line writes: one line per problem, JSON alone on stdout, lines and tables for people."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from cli.commands import stack
from cli.display import show_progress
from cli.errors import ExitCode, WaitTimedOutError, tell_error
from cli.main import run_command
from cli.progress import RunProgress
from cli.render import write_json, write_run, write_run_in_full, write_table
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError
from shared.contracts.events import Usage
from shared.contracts.queries import LateResult, NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import AssetRef, ImageValue, TextValue

PROBLEM = Problem(code="odd_thing", message="it is\n  odd", where="here", node_id="n", fix="mend it")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "ab" + 62 * "c"
CROP = ImageValue(asset=AssetRef(key=f"images/ab/{DIGEST}.png", media_type="image/png", size=9, width=3, height=2))
NODES = (
    NodeView(node_id="c", name="Crop", node_type="crop_image", status=NodeStatus.SUCCESS, output=CROP, seconds=0.25),
    NodeView(node_id="q", node_type="llm", status=NodeStatus.SUCCESS, output=TextValue(text="[bold]two\nlines")),
    NodeView(node_id="f", node_type="llm", status=NodeStatus.FAILED, attempt=3, error=PROBLEM),
)
RUN = RunView(
    run_id=UUID(int=1),
    status=RunStatus.PARTIAL,
    created_at=NOW,
    finished_at=NOW + timedelta(seconds=1.5),
    total_nodes=3,
    successful_nodes=2,
    failed_nodes=1,
    nodes=NODES,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError(PROBLEM), ExitCode.USAGE),
        (UnavailableError(PROBLEM), ExitCode.UNAVAILABLE),
        (WaitTimedOutError(PROBLEM), ExitCode.TIMED_OUT),
    ],
)
def test_an_error_is_told_in_one_line_and_asks_for_an_exit_code(capsys, error, code):
    assert tell_error(error) is code
    assert capsys.readouterr() == ("", "weft: odd_thing: it is odd (node n, here) -> mend it\n")


def test_each_problem_has_its_line(capsys):
    tell_error(InvalidInputError(PROBLEM, PROBLEM))
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["run", "execute"], ["runs", "get", "no-uuid"], ["dev", "--port", "0"]]
)
def test_wrong_usage_is_told_in_one_line(capsys, arguments):
    assert run_command(arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("weft: usage: ")
    assert err.count("\n") == 1


def test_help_is_no_error(capsys):
    assert run_command(["--help"]) == ExitCode.OK
    assert "demo" in capsys.readouterr().out


def test_a_defect_is_told_in_one_line_that_names_a_file(capsys, monkeypatch):
    def fail():
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(stack, "setup", fail)
    assert run_command(["setup"]) == ExitCode.DEFECT
    line = capsys.readouterr().err
    assert line.startswith("weft: internal_error: ZeroDivisionError: nobody foresaw this (")
    log = Path(line.partition("(")[2].partition(")")[0])
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_an_interrupt_has_its_exit_code(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "setup", interrupt)
    assert run_command(["setup"]) == ExitCode.INTERRUPTED


def test_json_is_alone_on_stdout(capsys):
    write_json(RUN)
    assert RunView.model_validate(json.loads(capsys.readouterr().out)) == RUN


def test_a_run_for_people_has_files_answers_and_problems(capsys, tmp_path):
    write_run(RUN, tmp_path.as_uri())
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == f"Run {RUN.run_id} partial in 1.50 s: 2 of 3 nodes succeeded, 1 failed"
    assert lines[1] == f"  Crop: {tmp_path}/{CROP.asset.key} (3 x 2)"
    assert lines[2:] == ["  q: [bold]two", "    lines"]
    assert err == "weft: odd_thing: it is odd (node f, here) -> mend it\n"


def test_a_run_from_afar_names_the_keys_of_its_pictures(capsys):
    write_run_in_full(RUN, None)
    out = capsys.readouterr().out
    assert f"Crop: {CROP.asset.key}" in out
    assert "attempt" in out


def test_tables_take_nothing_for_markup_and_cut_nothing_off(capsys):
    write_table(("name",), [("[red]" + 300 * "x",)])
    assert "[red]" + 300 * "x" in capsys.readouterr().out


def test_what_was_reused_spent_and_late_is_shown(capsys):
    usage = Usage(model="m", input_tokens=1_000, output_tokens=234, cost=0.0123)
    late = LateResult(attempt=1, at=NOW, outcome=NodeStatus.SUCCESS, usage=usage)
    nodes = (
        NodeView(node_id="c", node_type="crop_image", status=NodeStatus.SUCCESS, output=CROP, cached=True),
        NodeView(node_id="q", node_type="llm", status=NodeStatus.SUCCESS, usage=usage, late=(late,)),
    )
    spent = {"tokens": 1_234, "cost": 0.0123, "cached_nodes": 1, "cancelled_nodes": 1}
    write_run_in_full(RUN.model_copy(update={"nodes": nodes, **spent}), None)
    out = capsys.readouterr().out
    assert "2 of 3 nodes succeeded (1 cached), 1 failed, 1 cancelled, 1,234 tokens, 0.0123 dollars" in out
    assert re.search(r"q +llm +success +1 +1,234 +0.0123", out)
    assert "success (cached)" in out
    assert "  q: attempt 1 came too late (success), which changes nothing" in out


def test_a_run_that_waits_for_its_turn_says_so_once(capsys):
    queued = RUN.model_copy(
        update={"status": RunStatus.QUEUED, "nodes": (NodeView(node_id="a", status=NodeStatus.PENDING),)}
    )
    with show_progress() as on_change:
        on_change(RunProgress(queued.model_copy(update={"nodes": ()})), [])
        on_change(RunProgress(queued), queued.nodes or ())
        on_change(RunProgress(queued), [])
    assert capsys.readouterr().err == f"run {RUN.run_id}: queued, waits for its turn\n"


def test_cached_and_late_results_are_told_in_lines(capsys):
    late = LateResult(attempt=1, at=NOW, outcome=NodeStatus.FAILED)
    cached = NodeView(node_id="a", status=NodeStatus.SUCCESS, cached=True)
    cancelled = NodeView(node_id="b", status=NodeStatus.CANCELLED)
    with show_progress() as on_change:
        on_change(RunProgress(RUN), (cached, cancelled))
        on_change(RunProgress(RUN), (cancelled.model_copy(update={"late": (late,)}),))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "a: success (cached)",
        "b: cancelled",
        "b: attempt 1 came too late (failed), which changes nothing",
    ]


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys):
    with show_progress() as on_change:
        on_change(RunProgress(RUN), RUN.nodes or ())
        on_change(RunProgress(RUN), RUN.nodes or ())
    assert capsys.readouterr() == (
        "",
        "Crop: success in 0.25 s\nq: success\nf: failed (attempt 3)  odd_thing: it is\n  odd\n",
    )


def test_progress_is_drawn_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))
    monkeypatch.setenv("TERM", "xterm")
    many = tuple(NodeView(node_id=f"n{i}", status=NodeStatus.PENDING) for i in range(60))
    with show_progress() as on_change:
        progress = RunProgress(RUN.model_copy(update={"nodes": (*many, *NODES)}))
        on_change(progress, [])
    err = capsys.readouterr().err
    assert "2/63 nodes" in err
    assert "Crop" not in err  # those that failed or run come before those that are done
    assert "failed #3" in err
