"""What is left of a day's budget bounds the run that is started next."""

from uuid import UUID

import pytest

from gateway.run_limits import bounded
from shared.contracts.commands import RunStart
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.run_options import Budget, RunOptions

GRAPH = WorkflowGraph(nodes=(Node(id="a", type="text"),))


@pytest.mark.parametrize(
    ("asked", "left", "allowed"),
    [
        (None, 0.5, Budget(max_cost=0.5)),
        (Budget(max_cost=0.2, max_tokens=7), 0.5, Budget(max_cost=0.2, max_tokens=7)),
        (Budget(max_cost=2, max_tokens=7), 0.5, Budget(max_cost=0.5, max_tokens=7)),
        (Budget(max_tokens=7), 0.5, Budget(max_cost=0.5, max_tokens=7)),
    ],
)
def test_a_run_may_spend_what_is_left_and_no_more(asked, left, allowed):
    command = RunStart(run_id=UUID(int=1), graph=GRAPH, options=RunOptions(budget=asked, window=3))
    options = bounded(command, left).options
    assert (options.budget, options.window) == (allowed, 3)
