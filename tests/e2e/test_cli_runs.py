"""`weft runs events | timeline | watch | tail` and `weft doctor` on the running system."""

import json
import os
import pty
import re
import signal
import termios
from contextlib import suppress

from tests.e2e.system import EXAMPLES, finish

from cli.doctor.findings import Report
from cli.happenings import History
from shared.client.requests import Timeline
from shared.contracts.queries import RunView, WhyReply
from shared.contracts.states import RunStatus

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SAMPLE = (str(EXAMPLES / "workflow.json"), "--image", f"photo={EXAMPLES / 'photo.jpg'}")


def begun(weft):
    return json.loads(weft("run", "start", *SAMPLE, "--no-cache", "-o", "json")[1])["runId"]


def test_what_a_run_did_is_told_as_history_and_timeline(weft):
    run_id = json.loads(weft("run", "execute", *SAMPLE, "--no-cache", "-o", "json")[1])["runId"]
    exit_code, out, err = weft("runs", "events", run_id, "-o", "json")
    assert exit_code == 0, err
    kinds = [event.kind for event in History.model_validate_json(out).events]
    assert (kinds[0], kinds[-1]) == ("run.created", "run.finished")
    assert [kinds.count(kind) for kind in ("node.queued", "node.started")] == [7, 7]
    assert len(weft("runs", "events", run_id, "-o", "jsonl")[1].splitlines()) == len(kinds)
    timeline = Timeline.model_validate_json(weft("runs", "timeline", run_id, "-o", "json")[1])
    assert len(timeline.entries) == 9
    drawn = weft("runs", "timeline", run_id)[1]
    assert "Left third" in drawn
    assert "█" in drawn


def test_a_run_that_goes_on_is_watched_asked_and_tailed(weft, start, system):
    system.hold_model_calls(3)
    run_id = begun(weft)
    system.wait_until_held(3)
    workflow_id = RunView.model_validate_json(weft("runs", "get", run_id, "-o", "json")[1]).workflow_id
    exit_code, out, err = weft("runs", "watch", run_id, "--timeout", "0.5", "-o", "json")
    assert (exit_code, out) == (124, "")
    assert "Describe left: running" in err
    exit_code, out, _ = weft("runs", "why", run_id, "--watch", "--timeout", "0.5", "-o", "json")
    assert exit_code == 124
    assert WhyReply.model_validate_json(out.splitlines()[0]).open_nodes == 5
    tailing = start("runs", "tail", "--workflow", str(workflow_id), "-o", "jsonl")
    assert tailing.stdout
    assert json.loads(tailing.stdout.readline())["kind"] == "workflow.snapshot"
    watching = start("runs", "get", run_id, "--watch", "-o", "json")
    system.release_model_calls()
    exit_code, out, err = finish(watching)
    assert exit_code == 0, err
    assert RunView.model_validate_json(out).status is RunStatus.COMPLETED
    seen = []
    while not seen or seen[-1]["kind"] != "run.finished":
        seen.append(json.loads(tailing.stdout.readline()))
    assert {event["runId"] for event in seen} == {run_id}
    tailing.send_signal(signal.SIGINT)
    assert finish(tailing)[0] == 130


def test_on_a_terminal_a_run_is_drawn_as_a_tree(start):
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (30, 100))
    process = start("run", "execute", *SAMPLE, "--no-cache", "-o", "json", stderr=terminal, TERM="xterm")
    os.close(terminal)
    drawn = _CODES.sub("", b"".join(_written(controller)).decode())
    out, _ = process.communicate()
    assert RunView.model_validate_json(out).status is RunStatus.COMPLETED
    assert "├─ Left third" in drawn
    assert "└─ Describe left" in drawn
    assert "9/9 nodes: 9 success" in drawn


def _written(controller):
    """What is written to a terminal, until nobody has it open any more: Linux then says EIO."""
    with suppress(OSError):
        while data := os.read(controller, 65_536):
            yield data
    os.close(controller)


def test_all_workflows_are_tailed_for_a_while(weft):
    exit_code, out, err = weft("runs", "tail", "--timeout", "1", "-o", "jsonl")
    assert exit_code == 124, err
    assert all(json.loads(line)["kind"] for line in out.splitlines())


def test_a_system_that_is_well_is_found_so(weft):
    exit_code, out, err = weft("doctor", "-o", "json")
    report = Report.model_validate_json(out)
    failures = [finding.message for finding in report.findings if finding.level == "failure"]
    assert (exit_code, failures) == (0, []), err
    told = " ".join(finding.message for finding in report.findings)
    assert "with the scopes: read, run, admin" in told
    assert "the topology is there" in told


def test_a_gateway_that_is_down_is_found_with_what_to_do(weft, system):
    system.supervisor.kill("gateway")
    exit_code, out, _ = weft("doctor")
    system.supervisor.start_service("gateway")
    assert exit_code == 1
    assert "no gateway answers" in out
    assert "-> start it: weft dev" in out
