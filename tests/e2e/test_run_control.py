"""Cancelled, resumed, selected and budgeted runs on the running system, through the API and the command line."""

import json
from uuid import uuid4

import pytest
from tests.e2e.system import EXAMPLES

from shared.contracts.queries import WhyReply
from shared.contracts.states import NodeStatus, RunStatus

SAMPLE = (str(EXAMPLES / "workflow.json"), "--image", f"photo={EXAMPLES / 'photo.jpg'}")
RUNS = "/api/workflows/runs"
QUESTIONS = ("ask_left", "ask_middle", "ask_right")
REFUSED = {"kind": "refuse"}


class Api:
    """Controls runs by HTTP; its workflow is one of its own, so that no other test's outputs are found."""

    def __init__(self, system):
        self.system = system
        self.workflow = str(uuid4())

    def start(self, *, nodes=(), max_tokens=None):
        wishes = {"nodes": nodes, "scope": "selected"} if nodes else {}
        return self.system.start_sample_run(self.workflow, **wishes, **budget(max_tokens))

    def cancel(self, run_id):
        return self.system.post(f"{RUNS}/{run_id}/cancel")["runId"]

    def resume(self, run_id, *, edits=None, max_tokens=None):
        params = {node: {"userMessage": text} for node, text in (edits or {}).items()}
        return self.system.post(f"{RUNS}/{run_id}/resume", params=params, **budget(max_tokens))["runId"]

    def replay(self, run_id):
        return self.system.post(f"{RUNS}/{run_id}/replay")["runId"]

    def why(self, run_id, node):
        return WhyReply.model_validate(self.system.get(f"{RUNS}/{run_id}/why?node={node}"))


def budget(max_tokens):
    return {} if max_tokens is None else {"options": {"budget": {"maxTokens": max_tokens}}}


class CommandLine:
    """Controls runs by `weft`."""

    def __init__(self, weft):
        self.weft = weft

    def start(self, *, nodes=(), max_tokens=None):
        only = [argument for node in nodes for argument in ("--only", node)]
        return self.run("run", "start", *SAMPLE, *only, *self.limit(max_tokens)).strip()

    def cancel(self, run_id):
        return json.loads(self.run("runs", "cancel", run_id, "-y", "-o", "json"))["runId"]

    def resume(self, run_id, *, edits=None, max_tokens=None):
        params = [
            argument for node, text in (edits or {}).items() for argument in ("--param", f"{node}.userMessage={text}")
        ]
        return self.run("runs", "resume", run_id, *params, *self.limit(max_tokens), "--no-follow").strip()

    def replay(self, run_id):
        return self.run("runs", "replay", run_id, "--no-follow").strip()

    def why(self, run_id, node):
        return WhyReply.model_validate_json(self.run("runs", "why", run_id, node, "-o", "json"))

    def limit(self, max_tokens):
        return [] if max_tokens is None else ["--max-tokens", str(max_tokens)]

    def run(self, *arguments):
        exit_code, out, err = self.weft(*arguments)
        assert exit_code == 0, err
        return out


@pytest.fixture(params=["api", "cli"])
def door(request, system, weft):
    return Api(system) if request.param == "api" else CommandLine(weft)


def statuses(run):
    return {node.node_id: node.status for node in run.nodes}


def cached(run):
    return {node.node_id for node in run.nodes if node.cached}


def wait_until_queued(system, run_id, names):
    seen = set()
    for kind, data in system.events(run_id):
        if kind in {"run.snapshot", "run.started"}:
            seen |= {node["nodeId"] for node in data["nodes"] or () if node["status"] == "queued"}
        elif kind == "node.queued":
            seen.add(data["nodeId"])
        if seen.issuperset(names):
            return
    raise AssertionError("the run ended before")


def test_jobs_of_a_run_that_was_cancelled_while_no_worker_heard_it_are_not_done(system):
    before = system.model_calls()
    system.supervisor.kill("llm_worker")
    run_id = system.start_sample_run(options={"useCache": False})
    wait_until_queued(system, run_id, QUESTIONS)
    system.post(f"/api/workflows/runs/{run_id}/cancel")
    assert system.finished(run_id).status is RunStatus.CANCELLED
    system.supervisor.start_service("llm_worker")
    other = system.finished(system.start_sample_run(options={"useCache": False}))
    assert other.status is RunStatus.COMPLETED
    assert system.model_calls() - before == 4


def test_a_cancelled_run_stops_its_model_calls_and_keeps_what_had_succeeded(door, system):
    system.hold_model_calls(len(QUESTIONS))
    run_id = door.start()
    system.wait_until_held(len(QUESTIONS))
    (explained,) = door.why(run_id, "join").nodes
    assert explained.reasons[0].code == "waiting_for_nodes"
    assert set(explained.reasons[0].nodes) == set(QUESTIONS)
    assert door.cancel(run_id) == run_id
    system.wait_until_none_is_held()
    run = system.finished(run_id)
    ended = statuses(run)
    assert run.status is RunStatus.CANCELLED
    assert {ended[node] for node in (*QUESTIONS, "join", "result")} == {NodeStatus.CANCELLED}
    assert {ended[node] for node in ("photo", "crop_left", "crop_middle", "crop_right")} == {NodeStatus.SUCCESS}
    assert (run.successful_nodes, run.cancelled_nodes) == (4, 5)


def test_a_resumed_run_with_edited_params_pays_for_nothing_twice(door, system):
    system.script_model(REFUSED)
    old = system.finished(door.start())
    (refused,) = (node.node_id for node in old.nodes if node.status is NodeStatus.FAILED)
    assert old.status is RunStatus.PARTIAL
    before = system.model_calls()
    run = system.finished(door.resume(old.run_id.hex, edits={refused: "Ask it another way: 12?"}))
    assert (run.status, run.resumed_from) == (RunStatus.COMPLETED, old.run_id)
    assert system.model_calls() - before == 2
    executed = {refused, "join", "result"}
    assert cached(run) == statuses(run).keys() - executed
    asked = {node.node_id: node.output for node in old.nodes}
    assert all(node.output == asked[node.node_id] for node in run.nodes if node.cached)

    replayed = system.finished(door.replay(run.run_id.hex))
    assert (replayed.status, replayed.resumed_from) == (RunStatus.COMPLETED, None)
    assert system.model_calls() - before == 2 + len(QUESTIONS) + 1


def test_a_selection_is_executed_on_the_newest_outputs_of_the_rest(door, system):
    full = system.finished(door.start())
    assert full.status is RunStatus.COMPLETED
    before = system.model_calls()
    run = system.finished(door.start(nodes=("join", "result")))
    assert (run.status, run.scope, run.total_nodes) == (RunStatus.COMPLETED, "selected", 5)
    assert cached(run) == set(QUESTIONS)
    assert system.model_calls() - before == 1


def test_a_run_over_its_budget_asks_no_further_model_and_goes_on_with_a_larger_one(door, system):
    system.hold_model_calls(len(QUESTIONS))
    before = system.model_calls()
    run_id = door.start(max_tokens=1)
    system.wait_until_held(len(QUESTIONS))
    system.release_model_calls()
    run = system.finished(run_id)
    nodes = {node.node_id: node for node in run.nodes}
    assert run.status is RunStatus.PARTIAL
    assert {nodes[node].status for node in QUESTIONS} == {NodeStatus.SUCCESS}
    assert nodes["join"].error.code == "budget_exceeded"
    assert nodes["result"].status is NodeStatus.SKIPPED
    assert run.tokens > 1
    assert system.model_calls() - before == len(QUESTIONS)
    resumed = system.finished(door.resume(run_id, max_tokens=1_000_000))
    assert (resumed.status, cached(resumed)) == (RunStatus.COMPLETED, statuses(run).keys() - {"join", "result"})
    assert system.model_calls() - before == len(QUESTIONS) + 1


def test_a_run_that_is_cancelled_while_it_is_followed_exits_with_1(start, system, weft):
    system.hold_model_calls(len(QUESTIONS))
    process = start("run", "execute", *SAMPLE, "-o", "json", "--trigger-id", f"followed {uuid4()}")
    system.wait_until_held(len(QUESTIONS))
    run_id = system.get(f"{RUNS}?limit=1")["runs"][0]["runId"]
    assert weft("runs", "cancel", run_id, "-y")[0] == 0
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (1, "cancelled")
    assert "Join: cancelled" in err


def test_a_node_without_earlier_outputs_names_what_is_missing(weft, tmp_path):
    graph = json.loads((EXAMPLES / "workflow.json").read_text())
    path = tmp_path / "never_run.json"
    path.write_text(json.dumps({**graph, "name": f"never run {uuid4()}"}))
    exit_code, out, err = weft("run", "execute", str(path), "--only", "join")
    assert (exit_code, out) == (2, "")
    lines = err.splitlines()
    assert all(line.startswith("weft: missing_output: ") for line in lines)
    assert all(any(f"node {node}" in line for line in lines) for node in QUESTIONS)
    pins = [argument for node in QUESTIONS for argument in ("--pin", f"{node}=a cat")]
    exit_code, out, err = weft("run", "execute", str(path), "--only", "join", *pins)
    assert exit_code == 0, err
    assert "(3 cached)" in out


def test_the_same_trigger_is_the_same_run(weft):
    trigger = f"once {uuid4()}"
    first = weft("run", "execute", *SAMPLE, "--trigger-id", trigger, "-o", "json")[1]
    again = weft("run", "execute", *SAMPLE, "--trigger-id", trigger, "-o", "json")[1]
    assert json.loads(first)["runId"] == json.loads(again)["runId"]
    exit_code, _, err = weft("run", "start", *SAMPLE, "--trigger-id", trigger, "--no-cache")
    assert exit_code == 2
    assert err.startswith("weft: trigger_conflict: ")
