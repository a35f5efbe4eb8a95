"""The transition table, and how a run ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.states import (
    FINAL_NODE_STATUSES,
    NODE_TRANSITIONS,
    RUN_TRANSITIONS,
    IllegalTransitionError,
    NodeStatus,
    RunStatus,
    final_run_status,
    node_revival,
    node_transition,
    run_transition,
)

OK, BAD, SKIPPED = NodeStatus.SUCCESS, NodeStatus.FAILED, NodeStatus.SKIPPED


@given(st.sampled_from(NodeStatus), st.sampled_from(NodeStatus))
def test_only_the_tables_transitions_are_legal(current, following):
    if following in NODE_TRANSITIONS[current]:
        assert node_transition(current, following) is following
    else:
        with pytest.raises(IllegalTransitionError):
            node_transition(current, following)


@given(st.sampled_from(RunStatus), st.sampled_from(RunStatus))
def test_only_the_tables_transitions_of_runs_are_legal(current, following):
    if following in RUN_TRANSITIONS[current]:
        assert run_transition(current, following) is following
    else:
        with pytest.raises(IllegalTransitionError):
            run_transition(current, following)


@given(st.sampled_from(NodeStatus))
def test_only_what_failed_or_was_skipped_can_be_brought_back_and_both_lead_nowhere_else(current):
    if current in {BAD, SKIPPED}:
        assert node_revival(current) is NodeStatus.PENDING
        assert not NODE_TRANSITIONS[current]
    else:
        with pytest.raises(IllegalTransitionError):
            node_revival(current)


def test_final_states_lead_nowhere():
    assert {NodeStatus.SUCCESS, NodeStatus.FAILED, NodeStatus.SKIPPED, NodeStatus.CANCELLED} == FINAL_NODE_STATUSES


def test_every_state_can_be_reached_and_left_for_a_final_one():
    reached = {following for transitions in NODE_TRANSITIONS.values() for following in transitions}
    assert reached == set(NodeStatus) - {NodeStatus.PENDING}


@pytest.mark.parametrize(
    ("workers", "others", "status"),
    [
        ([OK, OK], [OK], RunStatus.COMPLETED),
        ([], [OK], RunStatus.COMPLETED),
        ([OK, BAD], [OK, SKIPPED], RunStatus.PARTIAL),
        ([OK], [SKIPPED], RunStatus.PARTIAL),
        ([BAD, SKIPPED], [OK], RunStatus.FAILED),
        ([], [BAD], RunStatus.FAILED),
    ],
)
def test_how_a_run_ends(workers, others, status):
    assert final_run_status(workers, others) is status
