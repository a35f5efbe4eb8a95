"""`weft run`, `runs` and `queues` on the running system."""

import json
from pathlib import Path

from tests.e2e.system import EXAMPLES, finish

from shared import topology
from shared.contracts.queries import RunPage, RunView
from shared.contracts.states import RunStatus
from shared.messaging.connection import connect

SAMPLE = (str(EXAMPLES / "workflow.json"), "--image", f"photo={EXAMPLES / 'photo.jpg'}")


def test_execute_shows_a_retry_and_goes_on(weft, system):
    system.script_model({"kind": "error", "status": 429, "retry_after": 1})
    exit_code, _, err = weft("run", "execute", *SAMPLE)
    assert exit_code == 0, err
    assert "retrying" in err


def test_execute_writes_json_alone_on_stdout_and_progress_on_stderr(weft):
    exit_code, out, err = weft("run", "execute", *SAMPLE, "-o", "json")
    assert exit_code == 0, err
    run = RunView.model_validate_json(out)
    assert (run.status, run.successful_nodes, run.total_nodes) == (RunStatus.COMPLETED, 9, 9)
    assert out.count("\n") == 1
    assert "Join: success" in err


def test_the_same_file_is_the_same_workflow(weft):
    ids = [weft("run", "start", *SAMPLE)[1].strip() for _ in range(2)]
    runs = [RunView.model_validate_json(weft("runs", "get", run_id, "-o", "json")[1]) for run_id in ids]
    assert runs[0].run_id != runs[1].run_id
    assert runs[0].workflow_id == runs[1].workflow_id
    listed = RunPage.model_validate_json(weft("runs", "list", "--workflow", str(runs[0].workflow_id), "-o", "json")[1])
    assert set(ids) <= {str(run.run_id) for run in listed.runs}


def test_runs_are_shown_to_people(weft):
    run_id = json.loads(weft("run", "start", *SAMPLE, "-o", "json")[1])["runId"]
    assert run_id in weft("runs", "list", "--limit", "5")[1]
    assert "Left third" in weft("runs", "get", run_id)[1]


def test_runs_are_listed_by_what_is_known_of_them(weft):
    ids = [json.loads(weft("run", "execute", *SAMPLE, "-o", "json")[1])["runId"] for _ in range(2)]
    wishes = ("runs", "list", "--status", "completed", "--since", "1h", "--limit", "1", "-o", "json")
    first = RunPage.model_validate_json(weft(*wishes)[1])
    assert first.next_cursor
    second = RunPage.model_validate_json(weft(*wishes, "--cursor", first.next_cursor)[1])
    assert [str(run.run_id) for run in (*first.runs, *second.runs)] == ids[::-1]
    exit_code, _, err = weft("runs", "list", "--cursor", "nonsense")
    assert (exit_code, err.startswith("weft: invalid_cursor: ")) == (2, True)


def test_history_that_is_not_old_is_not_dropped(weft):
    run_id = json.loads(weft("run", "execute", *SAMPLE, "-o", "json")[1])["runId"]
    exit_code, out, err = weft("history", "prune", "--older-than", "1d", "-y", "-o", "json")
    assert (exit_code, json.loads(out)) == (0, {"dropped": [], "kept": []}), err
    assert weft("runs", "get", run_id)[0] == 0


def test_a_run_that_is_not_there(weft):
    exit_code, out, err = weft("runs", "get", "00000000-0000-0000-0000-000000000000")
    assert (exit_code, out) == (2, "")
    assert err.startswith("weft: run_not_found: ")


def test_a_run_that_fails_in_part_exits_with_1_and_says_why(weft, tmp_path):
    graph = json.loads(Path(SAMPLE[0]).read_text())
    for node in graph["nodes"]:
        if node["id"] == "ask_left":
            node["params"]["model"] = "offline:refuse"
    path = tmp_path / "refused.json"
    path.write_text(json.dumps(graph))
    exit_code, out, err = weft("run", "execute", str(path), *SAMPLE[1:])
    assert exit_code == 1
    assert "partial" in out.splitlines()[0]
    assert "weft: llm_refused: " in err
    assert "node ask_left" in err


def test_a_wait_that_times_out_names_the_run_which_goes_on(weft, system):
    system.hold_model_calls(3)
    exit_code, out, err = weft("run", "execute", *SAMPLE, "--timeout", "0.5")
    assert (exit_code, out) == (124, "")
    line = err.splitlines()[-1]
    assert line.startswith("weft: wait_timed_out: ")
    run_id = line.rpartition(" ")[2]
    system.release_model_calls()
    assert system.finished(run_id).status is RunStatus.COMPLETED


def test_a_gateway_that_dies_is_waited_for(start, system):
    system.hold_model_calls(3)
    process = start("run", "execute", *SAMPLE, "-o", "json")
    system.wait_until_held(3)
    system.supervisor.kill("gateway")
    system.release_model_calls()
    system.supervisor.start_service("gateway")
    exit_code, out, err = finish(process)
    assert exit_code == 0, err
    assert RunView.model_validate_json(out).status is RunStatus.COMPLETED


async def test_queues_show_their_depth_and_a_missing_one_is_missing_not_empty(weft, system):
    async with connect(system.supervisor.settings.amqp_url or "", name="test", patience=5) as connection:
        channel = await connection.channel()
        await channel.queue_delete("dead.jobs.llm")
        try:
            exit_code, out, _ = weft("queues", "list", "-o", "json")
            _, table, _ = weft("queues", "list")
        finally:
            await topology.declare(await connection.channel())
    queues = {queue["name"]: queue for queue in json.loads(out)["queues"]}
    assert exit_code == 0
    assert list(queues) == [queue.name for queue in topology.QUEUES]
    assert (queues["jobs.llm"]["nodeType"], queues["jobs.llm"]["ready"], queues["jobs.llm"]["consumers"]) == (
        "llm",
        0,
        1,
    )
    missing = queues["dead.jobs.llm"]
    assert (missing["exists"], missing["holdsDeadLetters"], "ready" in missing) == (False, True, False)
    assert [problem["code"] for problem in missing["warnings"]] == ["queue_missing"]
    assert queues["dead.jobs.crop_image"]["holdsDeadLetters"]
    assert "missing" in table
