"""A model that is not there for a moment costs a run time, not its success."""

LIMITED = {"kind": "error", "status": 429, "retry_after": 1}
BROKEN = {"kind": "error", "status": 500}
REFUSED = {"kind": "refuse"}


def test_a_rate_limited_call_is_made_again_when_its_time_has_come(system):
    before = system.model_calls()
    system.script_model(LIMITED)
    run = system.finished(system.start_sample_run())
    assert run.status == "completed"
    assert sorted(node.attempt for node in run.nodes if node.node_type == "llm") == [1, 1, 1, 2]
    assert system.model_calls() - before == 5


def test_a_pause_survives_the_death_of_the_orchestrator_and_ends_once(system):
    before = system.model_calls()
    system.script_model(LIMITED)
    run_id = system.start_sample_run()
    system.wait_for(run_id, "node.retrying")
    system.supervisor.kill("orchestrator")
    system.supervisor.start_service("orchestrator")
    assert system.finished(run_id).status == "completed"
    assert system.model_calls() - before == 5


def test_what_keeps_failing_fails_its_node_after_three_attempts_and_skips_what_follows(system):
    system.script_model(*[BROKEN] * 9)
    run = system.finished(system.start_sample_run())
    nodes = {node.node_id: node for node in run.nodes}
    assert run.status == "partial"
    assert [nodes[name].status for name in ("ask_left", "join", "result")] == ["failed", "skipped", "skipped"]
    assert nodes["ask_left"].attempt == 3
    assert nodes["ask_left"].error.code == "llm_unavailable"


def test_what_can_never_succeed_is_not_tried_again(system):
    before = system.model_calls()
    system.script_model(*[REFUSED] * 3)
    run = system.finished(system.start_sample_run())
    assert run.status == "partial"
    assert system.model_calls() - before == 3
    assert {node.error.code for node in run.nodes if node.status == "failed"} == {"llm_refused"}
