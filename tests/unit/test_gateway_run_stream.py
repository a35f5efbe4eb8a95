"""What a client that watches a run is told, whatever it missed: it always hears of the end."""

import asyncio
from collections import deque
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.live import MAX_BUFFER, LiveEvents, Signal, Subscription
from gateway.run_stream import RunStream, to_sse
from shared.contracts.errors import unavailable
from shared.contracts.events import NodeProgress, NodeQueued, RunFinished
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus

RUN = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUED = RunView(run_id=RUN, status=RunStatus.QUEUED, created_at=NOW, nodes=())
RUNNING = QUEUED.model_copy(
    update={
        "status": RunStatus.RUNNING,
        "nodes": (NodeView(node_id="a", node_type="llm", status=NodeStatus.PENDING),),
    }
)
COMPLETED = RUNNING.model_copy(update={"status": RunStatus.COMPLETED})
NODE_QUEUED = NodeQueued(run_id=RUN, node_id="a", node_type="llm", at=NOW)
FINISHED = RunFinished(
    run_id=RUN, at=NOW, status=RunStatus.COMPLETED, total_nodes=1, successful_nodes=1, failed_nodes=0
)


class Tracker:
    """Answers with what it was given, one after the other; the last answer stays."""

    def __init__(self, *answers):
        self.answers = deque(answers)
        self.asked = 0

    async def ask(self):
        self.asked += 1
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def told(first, subscription, tracker):
    async with asyncio.timeout(10):
        return [update async for update in RunStream(first, subscription, tracker.ask).updates()]


def holding(*items):
    subscription = Subscription()
    for item in items:
        subscription.offer(item)
    return subscription


async def test_a_run_that_has_ended_is_told_by_its_snapshot():
    tracker = Tracker(COMPLETED)
    assert await told(COMPLETED, holding(NODE_QUEUED), tracker) == [COMPLETED]
    assert tracker.asked == 0


async def test_the_snapshot_is_followed_by_all_events_up_to_the_end():
    updates = await told(RUNNING, holding(NODE_QUEUED, FINISHED, NODE_QUEUED), Tracker(RUNNING))
    assert updates == [RUNNING, NODE_QUEUED, FINISHED]


async def test_the_pieces_of_an_answer_are_told_as_they_come():
    pieces = [NodeProgress(run_id=RUN, node_id="a", node_type="llm", at=NOW, sequence=n, text=str(n)) for n in (1, 2)]
    updates = await told(RUNNING, holding(NODE_QUEUED, *pieces, FINISHED), Tracker(RUNNING))
    assert updates == [RUNNING, NODE_QUEUED, *pieces, FINISHED]
    assert to_sse(pieces[0]).event == "node.progress"


async def test_an_end_that_was_missed_is_told_by_a_snapshot():
    assert await told(RUNNING, holding(), Tracker(RUNNING, COMPLETED)) == [RUNNING, COMPLETED]


async def test_a_start_that_was_missed_is_told_by_a_snapshot():
    assert await told(QUEUED, holding(), Tracker(QUEUED, RUNNING, COMPLETED)) == [QUEUED, RUNNING, COMPLETED]


async def test_a_tracker_that_lags_behind_the_events_is_not_shown():
    updates = await told(RUNNING, holding(NODE_QUEUED), Tracker(RUNNING, RUNNING, COMPLETED))
    assert updates == [RUNNING, NODE_QUEUED, COMPLETED]


async def test_lost_events_are_made_good_by_a_snapshot_even_if_it_seems_to_hold_nothing_new():
    updates = await told(RUNNING, holding(Signal.LOST, FINISHED), Tracker(RUNNING))
    assert updates == [RUNNING, RUNNING, FINISHED]


async def test_a_tracker_that_is_away_is_asked_again_and_live_events_go_on():
    away = unavailable("no_answer", "away")
    tracker = Tracker(away, away, COMPLETED)
    assert await told(RUNNING, holding(Signal.LOST, NODE_QUEUED), tracker) == [RUNNING, NODE_QUEUED, COMPLETED]


async def test_events_that_come_while_the_tracker_is_asked_are_preferred():
    subscription = holding()

    class SlowTracker(Tracker):
        async def ask(self):
            subscription.offer(FINISHED)
            return await super().ask()

    assert await told(RUNNING, subscription, SlowTracker(COMPLETED)) == [RUNNING, FINISHED]


async def test_the_stream_ends_when_the_gateway_stops():
    live = LiveEvents()
    with live.subscribe(RUN) as subscription:
        live.close()
        assert await told(RUNNING, subscription, Tracker(RUNNING)) == [RUNNING]
    with live.subscribe(RUN) as late:
        assert await told(RUNNING, late, Tracker(RUNNING)) == [RUNNING]


async def test_a_slow_reader_loses_what_it_holds_and_is_told_so():
    subscription = holding(*[NODE_QUEUED] * MAX_BUFFER, FINISHED)
    assert [await subscription.next(1), await subscription.next(1)] == [Signal.LOST, FINISHED]
    assert await subscription.next(0.01) is Signal.IDLE


def test_subscriptions_leave_nothing_behind():
    live = LiveEvents()
    with live.subscribe(RUN), live.subscribe(RUN), live.subscribe(UUID(int=2)):
        assert live.watchers() == 3
    assert live.watchers() == 0


@pytest.mark.parametrize(("update", "kind"), [(RUNNING, "run.snapshot"), (NODE_QUEUED, "node.queued")])
def test_an_update_is_sent_by_its_kind_as_one_line(update, kind):
    event = to_sse(update)
    assert event.event == kind
    assert type(update).model_validate_json(event.raw_data or "") == update
    assert "\n" not in (event.raw_data or "")
