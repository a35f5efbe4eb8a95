"""kill -9 of any service in the middle of a run: started again, the run ends as if nothing had happened."""

import os
import signal

import pytest

from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import ImageValue, TextValue

ANEW = {"useCache": False}  # crops of the same photograph would be reused
QUESTIONS = 3  # model calls that wait for nothing but their crops; the fourth joins their answers


def assert_complete(run):
    assert run.status is RunStatus.COMPLETED
    assert (run.total_nodes, run.successful_nodes, run.failed_nodes) == (9, 9, 0)
    assert {node.status for node in run.nodes} == {NodeStatus.SUCCESS}
    by_type = {kind: [node.output for node in run.nodes if node.node_type == kind] for kind in ("crop_image", "llm")}
    assert [type(output) for output in by_type["crop_image"]] == [ImageValue] * 3
    assert [type(output) for output in by_type["llm"]] == [TextValue] * 4


def start_and_hold_at_the_model(system):
    system.hold_model_calls(QUESTIONS)
    run_id = system.start_sample_run(options=ANEW)
    system.wait_until_held(QUESTIONS)
    return run_id


@pytest.mark.parametrize("name", ["orchestrator", "run_tracker", "gateway"])
def test_a_service_killed_while_workers_work(system, name):
    before = system.model_calls()
    run_id = start_and_hold_at_the_model(system)
    system.supervisor.kill(name)
    system.release_model_calls()
    system.supervisor.start_service(name)
    assert_complete(system.finished(run_id))
    assert system.model_calls() - before == QUESTIONS + 1


def test_the_llm_worker_killed_while_it_waits_for_the_model(system):
    before = system.model_calls()
    run_id = start_and_hold_at_the_model(system)
    system.supervisor.kill("llm_worker")
    system.release_model_calls()
    system.supervisor.start_service("llm_worker")
    assert_complete(system.finished(run_id))
    # The calls that were under way are made again: that no reply had come is all that anyone knows.
    assert system.model_calls() - before == 2 * QUESTIONS + 1


def test_a_job_that_kills_its_worker_three_times_fails_its_node_and_the_run_ends(system):
    system.hold_model_calls(QUESTIONS + 2 * QUESTIONS)
    run_id = system.start_sample_run(options=ANEW)
    # The first death counts against all that is in hand; then each job is tried alone, twice.
    for held in (QUESTIONS, *[1] * (2 * QUESTIONS)):
        system.wait_until_held(held)
        system.supervisor.kill("llm_worker")
        system.wait_until_none_is_held()
        system.supervisor.start_service("llm_worker")
    run = system.finished(run_id)
    assert run.status is RunStatus.PARTIAL
    failed = {node.node_id: node.error.code for node in run.nodes if node.status is NodeStatus.FAILED}
    assert failed == dict.fromkeys(("ask_left", "ask_middle", "ask_right"), "worker_crashed")


def test_the_crop_worker_killed_with_jobs_in_hand(system):
    os.kill(system.supervisor.pid("crop_worker"), signal.SIGSTOP)
    run_id = system.start_sample_run(options=ANEW)
    system.wait_for(run_id, "node.queued", count=3)
    system.supervisor.kill("crop_worker")
    system.supervisor.start_service("crop_worker")
    assert_complete(system.finished(run_id))


def test_everything_killed_at_once(system):
    run_id = start_and_hold_at_the_model(system)
    names = ["gateway", "orchestrator", "run_tracker", "crop_worker", "llm_worker"]
    for name in names:
        system.supervisor.kill(name)
    system.release_model_calls()
    for name in reversed(names):
        system.supervisor.start_service(name)
    assert_complete(system.finished(run_id))


@pytest.mark.parametrize("name", ["orchestrator", "run_tracker", "gateway", "crop_worker", "llm_worker"])
def test_a_service_asked_to_stop_finishes_what_it_has_in_hand(system, name):
    run_id = start_and_hold_at_the_model(system)
    os.kill(system.supervisor.pid(name), signal.SIGTERM)
    system.release_model_calls()
    assert system.supervisor.wait_stopped(name) == 0
    system.supervisor.start_service(name)
    assert_complete(system.finished(run_id))
