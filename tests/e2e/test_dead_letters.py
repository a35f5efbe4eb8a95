"""Jobs that were given up, found and replayed with `weft`; killed in the middle, nothing is lost or done twice."""

import json

from tests.e2e.incident import Incident
from tests.e2e.waiting import until

MANY = 1_000
SOME = 150  # more than are treated in one request


def test_an_incident_is_found_and_made_good_with_weft_alone(system, weft):
    incident = Incident(system, weft, MANY)
    incident.happen()
    queues = json.loads(weft("queues", "list", "-o", "json")[1])
    (llm,) = (level for level in queues["nodeTypes"] if level["nodeType"] == "llm")
    assert (llm["deadLetters"], [warning["code"] for warning in llm["warnings"]]) == (MANY, ["no_consumer"])
    _, out, _ = weft("dead", "list", "--code", "worker_crashed", "--limit", "1", "-o", "json")
    (letter,) = json.loads(out)["letters"]
    assert "deaths" in letter
    assert f"reason        {letter['reason']}" in weft("dead", "show", letter["id"])[1]
    _, exported, _ = weft("dead", "export")
    assert len({json.loads(line)["runId"] for line in exported.splitlines()}) == MANY
    incident.mend()
    code, out, err = weft("dead", "replay", "--all", "-y")
    assert (code, out) == (0, f"{MANY:,} resumed\n"), err
    incident.check_that_each_run_was_taken_up_once()


def test_a_replay_whose_command_is_killed_goes_on_where_it_was(system, weft, start):
    incident = Incident(system, weft, SOME)
    incident.happen()
    incident.mend()
    calls = system.model_calls()
    process = start("dead", "replay", "--all", "-y", "--rate", "20/s", "-o", "jsonl")
    assert process.stdout
    assert json.loads(process.stdout.readline())["outcome"] == "resumed"
    process.kill()
    process.communicate()
    assert 0 < incident.dead() < SOME
    code, _, err = weft("dead", "replay", "--all", "-y")
    assert code == 0, err
    incident.check_that_each_run_was_taken_up_once()
    assert system.model_calls() - calls == SOME


def test_a_replay_whose_gateway_is_killed_goes_on_where_it_was(system, weft, start):
    incident = Incident(system, weft, SOME)
    incident.happen()
    incident.mend()
    calls = system.model_calls()
    process = start("dead", "replay", "--all", "-y")
    assert process.stderr
    assert "100 treated" in process.stderr.readline()
    system.supervisor.kill("gateway")
    _, err = process.communicate()
    assert (process.returncode, "gateway_unreachable" in err) == (69, True)
    system.supervisor.start_service("gateway")
    code, _, err = weft("dead", "replay", "--all", "-y")
    assert code == 0, err
    incident.check_that_each_run_was_taken_up_once()
    assert system.model_calls() - calls == SOME


def test_letters_are_dropped_with_a_copy_in_hand(system, weft):
    incident = Incident(system, weft, 3)
    incident.happen()
    code, _, _ = weft("dead", "drop", "--node-type", "llm")
    assert (code, incident.dead()) == (2, 3)  # nobody is there to confirm
    assert weft("dead", "drop", "--node-type", "llm", "--limit", "2", "-y")[1] == "2 dropped\n"
    assert weft("dead", "drop", "--all", "-y", "-o", "jsonl")[1].count('"dropped"') == 1
    until(lambda: incident.dead() == 0)
