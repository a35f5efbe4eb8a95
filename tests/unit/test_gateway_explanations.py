"""What a run waits for: the orchestrator's word, else what the run tracker knows."""

from unittest.mock import create_autospec
from uuid import UUID

import pytest

from gateway.domain.callers import Caller
from gateway.explanations import Explanations
from gateway.orchestrator_client import OrchestratorClient
from gateway.runs import Runs
from shared.contracts.errors import InvalidInputError, Problem, invalid
from shared.contracts.queries import NodeExplanation, NodeView, RunView, WhyReply
from shared.contracts.states import NodeStatus, RunStatus

RUN = UUID(int=1)
ERROR = Problem(code="llm_refused", message="no")
ENDED = RunView(
    run_id=RUN,
    status=RunStatus.FAILED,
    nodes=(NodeView(node_id="a", node_type="llm", status=NodeStatus.FAILED, attempt=3, error=ERROR),),
)


@pytest.fixture
def orchestrator():
    orchestrator = create_autospec(OrchestratorClient, instance=True)
    orchestrator.explain.return_value = WhyReply(known=False)
    return orchestrator


@pytest.fixture
def runs():
    return create_autospec(Runs, instance=True)


@pytest.fixture
def explanations(orchestrator, runs):
    return Explanations(orchestrator, runs, caller("admin"))


def caller(scope):
    return Caller(UUID(int=1), "somebody", frozenset({scope}))


async def test_the_orchestrators_word_is_told_as_it_is(explanations, orchestrator, runs):
    node = NodeExplanation(node_id="a", status=NodeStatus.QUEUED, reasons=())
    orchestrator.explain.return_value = reply = WhyReply(status=RunStatus.RUNNING, nodes=(node,))
    assert await explanations.why(RUN, "a") is reply
    runs.get.assert_not_called()


async def test_the_orchestrator_is_not_asked_about_the_run_of_another_owner(orchestrator, runs):
    runs.get.side_effect = invalid("run_not_found", "x")
    with pytest.raises(InvalidInputError, match="run_not_found"):
        await Explanations(orchestrator, runs, caller("run")).why(RUN, None)
    orchestrator.explain.assert_not_called()


async def test_a_run_that_the_orchestrator_has_forgotten_waits_for_nothing(explanations, runs):
    runs.get.return_value = ENDED
    assert await explanations.why(RUN, None) == WhyReply(status=RunStatus.FAILED)


async def test_a_node_of_a_forgotten_run_is_told_with_its_error(explanations, runs):
    runs.get.return_value = ENDED
    (node,) = (await explanations.why(RUN, "a")).nodes
    assert node.status is NodeStatus.FAILED
    assert [(reason.code, reason.attempt) for reason in node.reasons] == [("llm_refused", 3)]


async def test_a_run_whose_start_was_not_taken_in_waits_for_that(explanations, runs):
    runs.get.return_value = RunView(run_id=RUN, status=RunStatus.QUEUED, nodes=())
    reply = await explanations.why(RUN, "a")
    assert (reply.status, [reason.code for reason in reply.reasons]) == (RunStatus.QUEUED, ["start_pending"])


async def test_a_run_that_nobody_knows(explanations, runs):
    runs.get.side_effect = invalid("run_not_found", "x")
    with pytest.raises(InvalidInputError, match="run_not_found"):
        await explanations.why(RUN, None)


async def test_a_node_that_the_run_does_not_have(explanations, orchestrator, runs):
    runs.get.return_value = ENDED
    with pytest.raises(InvalidInputError, match="node_not_found"):
        await explanations.why(RUN, "x")
    # The orchestrator knows runs that have ended, but not the node.
    orchestrator.explain.return_value = WhyReply(status=RunStatus.FAILED)
    with pytest.raises(InvalidInputError, match="node_not_found"):
        await explanations.why(RUN, "x")
