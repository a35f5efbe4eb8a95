"""What the run tracker does with a message of which not all can be recorded."""

from typing import cast

import pytest
from tests.unit.histories import EVENTS

from run_tracker.handlers import EventHandler
from run_tracker.repository import RunRepository
from shared.contracts.bundles import Told
from shared.contracts.errors import UnavailableError, unavailable
from shared.messaging.told import handling_told

BAD = EVENTS[3]


class Repository:
    """Records all events but one, or none while it is away."""

    def __init__(self):
        self.recorded, self.is_away = [], False

    async def merge(self, told):
        if self.is_away:
            raise unavailable("database_unavailable", "away")
        if any(BAD.node_id in key and node.success for key, node in told.nodes.items()):
            raise RuntimeError("no")
        self.recorded.append(told)


@pytest.fixture
def repository():
    return Repository()


@pytest.fixture
def handler(repository):
    return handling_told(EventHandler(cast("RunRepository", repository)).record)


async def test_of_a_message_that_comes_alone_all_is_recorded_that_can_be(handler, repository):
    with pytest.raises(RuntimeError):
        await handler([Told("m", EVENTS[:6])])
    assert len(repository.recorded) == 5


async def test_of_several_messages_none_is_recorded_in_part(handler, repository):
    with pytest.raises(RuntimeError):
        await handler([Told("m", EVENTS[:6]), Told("n", EVENTS[6:8])])
    assert repository.recorded == []


async def test_what_cannot_be_read_is_no_reason_not_to_record_the_rest(handler, repository):
    with pytest.raises(ValueError, match="1 messages cannot be read"):
        await handler([Told("m", EVENTS[:3], unreadable=1)])
    assert len(repository.recorded) == 1


async def test_while_the_database_is_away_nothing_is_tried_one_by_one(handler, repository):
    repository.is_away = True
    with pytest.raises(UnavailableError):
        await handler([Told("m", EVENTS[:6])])
