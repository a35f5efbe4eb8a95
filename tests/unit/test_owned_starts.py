"""Names in starts are each owner's own, and what was started before there were owners is the same as ever."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from shared.contracts.commands import RunStart
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.run_options import Concurrency, RunOptions

GRAPH = WorkflowGraph(nodes=(Node(id="a", type="text"),))


def start(**fields):
    options = RunOptions(concurrency=Concurrency(key="gpu"))
    return RunStart(run_id=UUID(int=1), graph=GRAPH, trigger_run_id="mine", options=options, **fields)


def test_the_names_of_two_owners_are_told_apart():
    for name in ("trigger_key", "concurrency_key"):
        names = {getattr(command, name) for command in (start(), start(owner="alice"), start(owner="bob"))}
        assert len(names) == 3
        assert getattr(start(), name) in {"mine", "gpu"}


def test_without_names_there_is_nothing_to_tell_apart():
    command = RunStart(run_id=UUID(int=1), graph=GRAPH, owner="alice")
    assert (command.trigger_key, command.concurrency_key) == (None, None)


def test_the_same_of_another_owner_is_not_the_same():
    assert start(owner="alice").digest != start(owner="bob").digest
    assert start(owner="alice").digest != start().digest
    assert start().digest == start().digest


@pytest.mark.parametrize("owner", ["", "Alice", "a b", "-a", 65 * "a", "a:b", "a/b"])
def test_what_is_no_name_of_an_owner(owner):
    with pytest.raises(ValidationError):
        start(owner=owner)
