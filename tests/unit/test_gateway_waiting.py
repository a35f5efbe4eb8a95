"""Waiting for the end of a run that was accepted, while others do not know it yet."""

from datetime import UTC, datetime
from unittest.mock import create_autospec
from uuid import UUID

import pytest

from gateway import waiting
from gateway.live import LiveEvents
from gateway.runs import Runs
from shared.contracts.errors import InvalidInputError, invalid, unavailable
from shared.contracts.queries import RunView
from shared.contracts.states import RunStatus

ACCEPTED = RunView(run_id=UUID(int=7), status=RunStatus.QUEUED, created_at=datetime(2026, 1, 1, tzinfo=UTC))
COMPLETED = ACCEPTED.model_copy(update={"status": RunStatus.COMPLETED})
NOT_FOUND = invalid("run_not_found", "there is no such run")


async def waited(*answers, seconds=0.05):
    runs = create_autospec(Runs, instance=True)
    runs.get.side_effect = answers
    return await waiting.wait_for_end(ACCEPTED, runs, LiveEvents(), seconds)


@pytest.mark.parametrize("error", [NOT_FOUND, unavailable("no_answer", "the tracker is away")])
async def test_a_run_that_nobody_knows_yet_is_told_as_it_was_accepted(error):
    assert await waited(error, error) == ACCEPTED


async def test_a_run_that_nobody_knew_at_first_is_waited_for(monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    assert await waited(NOT_FOUND, COMPLETED, seconds=30) == COMPLETED


async def test_another_refusal_is_told():
    with pytest.raises(InvalidInputError, match="other"):
        await waited(invalid("other", "another reason"))
