"""What a client that watches a run is told, whatever it missed: it always hears of the end."""

import asyncio
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway import event_log, waiting
from gateway.domain.event_ids import EventId, read_event_id
from gateway.event_log import LoggedEvent, topic_of
from gateway.live import LiveEvents, Signal
from gateway.run_stream import RunStream, Told, to_sse
from gateway.runs import Runs
from shared.contracts.commands import RunStart
from shared.contracts.errors import unavailable
from shared.contracts.events import NodeProgress, NodeQueued, NodeStarted, NodeSucceeded, RunFinished, RunStarted
from shared.contracts.graph import WorkflowGraph
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.contracts.values import TextValue
from shared.messaging.live import StreamedEvent

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
STARTED = NodeStarted(run_id=RUN, node_id="a", node_type="llm", at=NOW, worker="w")
PIECES = [NodeProgress(run_id=RUN, node_id="a", node_type="llm", at=NOW, sequence=n, text=str(n)) for n in (1, 2)]
SUCCEEDED = NodeSucceeded(run_id=RUN, node_id="a", node_type="llm", at=NOW, output=TextValue(text="12"))
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


class Gateway:
    """A gateway's live events, and one client at a time that watches the run."""

    def __init__(self, *events, start=0):
        self.live = LiveEvents()
        self.position = start - 1
        self.tell(*events)

    def tell(self, *events, run_id=RUN):
        for event in events:
            self.position += 1
            body = event if isinstance(event, bytes) else event.to_json()
            message_id = str(self.position) if isinstance(event, bytes) else event.message_id
            kind = "" if isinstance(event, bytes) else event.kind
            self.live.receive(StreamedEvent(self.position, run_id, kind, message_id, body))

    @contextmanager
    def watched(self, first, tracker, after=None):
        with self.live.subscribe(RUN, self.live.log.newest) as subscription:
            yield RunStream(first, self.live.log, subscription, tracker.ask, after=after, pause=0.01).updates()

    async def told(self, first, tracker, after=None):
        with self.watched(first, tracker, after) as updates:
            async with asyncio.timeout(10):
                return [update async for update in updates]


async def told(first, tracker, *events):
    """Return what a client is told that comes first, and then sees those events."""
    gateway = Gateway()
    with gateway.watched(first, tracker) as updates:
        seen = [await anext(updates)]
        gateway.tell(*events)
        async with asyncio.timeout(10):
            seen += [update async for update in updates]
    return [update for _, update in seen]


async def test_a_run_that_has_ended_is_told_by_its_snapshot_and_nobody_is_asked():
    tracker = Tracker(COMPLETED)
    assert await Gateway(NODE_QUEUED).told(COMPLETED, tracker) == [Told(EventId(0, ends=True), COMPLETED)]
    assert tracker.asked == 0


async def test_the_snapshot_is_followed_by_all_events_up_to_the_end():
    updates = await told(RUNNING, Tracker(RUNNING), NODE_QUEUED, FINISHED, STARTED)
    assert updates == [RUNNING, NODE_QUEUED, FINISHED]


async def test_the_pieces_of_an_answer_are_told_as_they_come():
    updates = await told(RUNNING, Tracker(RUNNING), NODE_QUEUED, *PIECES, FINISHED)
    assert updates == [RUNNING, NODE_QUEUED, *PIECES, FINISHED]
    assert to_sse(Told(EventId(1), PIECES[0])).event == "node.progress"


async def test_who_comes_late_is_told_what_its_snapshot_lacks_and_no_more():
    gateway = Gateway(NODE_QUEUED, STARTED, *PIECES, SUCCEEDED, FINISHED, start=1)
    queued = RUNNING.model_copy(update={"nodes": (NodeView(node_id="a", status=NodeStatus.QUEUED),)})
    updates = await gateway.told(queued, Tracker(queued))
    assert [(told.id.position, told.update) for told in updates] == [
        *((1, queued), (2, STARTED), (3, PIECES[0]), (4, PIECES[1])),
        *((5, SUCCEEDED), (6, FINISHED)),
    ]
    assert [told.id.ends for told in updates] == [False] * 5 + [True]


@pytest.mark.parametrize("start", [1, 1_000])
@pytest.mark.parametrize("known", range(6))
async def test_who_comes_back_is_told_what_follows_each_thing_once(start, known):
    events = [NODE_QUEUED, STARTED, *PIECES, SUCCEEDED, FINISHED]
    gateway = Gateway(*events, start=start)
    updates = await gateway.told(COMPLETED, Tracker(COMPLETED), after=start + known - 1)
    assert [told.update for told in updates] == events[known:]
    assert updates[-1].id == EventId(start + 5, ends=True)


@pytest.mark.parametrize("after", [5, 9, 1_000])
async def test_who_was_away_for_longer_than_events_are_kept_gets_a_snapshot(after):
    gateway = Gateway(NODE_QUEUED, STARTED, start=11 if after < 1_000 else 990)
    updates = await gateway.told(COMPLETED, Tracker(COMPLETED), after=after)
    assert [told.update for told in updates] == [COMPLETED]


async def test_who_comes_back_goes_on_live():
    gateway = Gateway(NODE_QUEUED)
    with gateway.watched(RUNNING, Tracker(RUNNING), after=0) as updates:
        gateway.tell(STARTED)
        assert (await anext(updates)).update == STARTED
        gateway.tell(FINISHED)
        assert [told.update async for told in updates] == [FINISHED]


async def test_an_event_that_is_told_again_is_told_once():
    updates = await told(RUNNING, Tracker(RUNNING), NODE_QUEUED, STARTED, NODE_QUEUED, STARTED, FINISHED)
    assert updates == [RUNNING, NODE_QUEUED, STARTED, FINISHED]


async def test_an_event_that_cannot_be_read_is_left_out():
    assert await told(RUNNING, Tracker(RUNNING), b"?", FINISHED) == [RUNNING, FINISHED]


async def test_an_end_that_was_missed_is_told_by_a_snapshot():
    assert await told(RUNNING, Tracker(RUNNING, COMPLETED)) == [RUNNING, COMPLETED]


async def test_a_start_that_was_missed_is_told_by_a_snapshot():
    assert await told(QUEUED, Tracker(QUEUED, RUNNING, COMPLETED)) == [QUEUED, RUNNING, COMPLETED]


async def test_a_tracker_that_lags_behind_the_events_is_not_shown():
    updates = await told(RUNNING, Tracker(RUNNING, RUNNING, COMPLETED), NODE_QUEUED)
    assert updates == [RUNNING, NODE_QUEUED, COMPLETED]


async def test_lost_events_are_made_good_by_a_snapshot_even_if_it_seems_to_hold_nothing_new():
    gateway = Gateway()
    with gateway.watched(RUNNING, Tracker(RUNNING)) as updates:
        seen = [await anext(updates)]
        gateway.live.mark_gap()
        gateway.tell(FINISHED)
        seen += [update async for update in updates]
    assert [told.update for told in seen] == [RUNNING, RUNNING, FINISHED]


async def test_a_tracker_that_is_away_is_asked_again_and_live_events_go_on():
    away = unavailable("no_answer", "away")
    gateway = Gateway()
    with gateway.watched(RUNNING, Tracker(away, away, COMPLETED)) as updates:
        seen = [await anext(updates)]
        gateway.tell(NODE_QUEUED)
        seen += [update async for update in updates]
    assert [told.update for told in seen] == [RUNNING, NODE_QUEUED, COMPLETED]


async def test_events_that_come_while_the_tracker_is_asked_are_preferred():
    gateway = Gateway()

    class SlowTracker(Tracker):
        async def ask(self):
            gateway.tell(FINISHED)
            return await super().ask()

    updates = await gateway.told(RUNNING, SlowTracker(COMPLETED))
    assert [told.update for told in updates] == [RUNNING, FINISHED]


async def test_the_stream_ends_when_the_gateway_stops():
    gateway = Gateway()
    with gateway.watched(RUNNING, Tracker(RUNNING)) as updates:
        assert (await anext(updates)).update == RUNNING
        gateway.live.close()
        assert [told async for told in updates] == []
    assert [told.update for told in await gateway.told(RUNNING, Tracker(RUNNING))] == [RUNNING]


async def test_who_reads_too_slowly_is_told_that_events_are_missing(monkeypatch):
    monkeypatch.setattr(event_log, "MAX_EVENTS", 3)
    gateway = Gateway()
    with gateway.live.subscribe(RUN, -1) as subscription:
        gateway.tell(NODE_QUEUED, STARTED, *PIECES)
        assert await subscription.next(1) is Signal.LOST
        subscription.read_from(2)
        assert (await told_next(subscription)).position == 3
        assert await subscription.next(0.01) is Signal.IDLE


async def test_events_of_others_make_nobody_slow(monkeypatch):
    monkeypatch.setattr(event_log, "MAX_EVENTS", 3)
    gateway = Gateway(NODE_QUEUED)
    with gateway.live.subscribe(RUN, 0) as subscription:
        assert await subscription.next(0.01) is Signal.IDLE
        gateway.tell(*(bytes([n]) for n in range(10)), run_id=UUID(int=9))
        gateway.tell(STARTED)
        gateway.tell(*(bytes([n]) for n in range(2)), run_id=UUID(int=9))
        assert (await told_next(subscription)).position == 11


async def told_next(subscription):
    item = await subscription.next(1)
    assert isinstance(item, LoggedEvent)
    return item


def test_the_log_keeps_what_was_last_told_and_knows_what_it_lacks(monkeypatch):
    monkeypatch.setattr(event_log, "MAX_BYTES", 10)
    gateway = Gateway(b"aaaa", b"bbbb", b"cccc", start=5)
    log = gateway.live.log
    assert [event.body for event in log.after(RUN, 0)] == [b"bbbb", b"cccc"]
    assert [log.covers(position) for position in (4, 5, 6, 7, 8)] == [False, True, True, True, False]
    assert [event.body for event in log.after(RUN, 6)] == [b"cccc"]


def test_the_log_finds_events_by_their_runs_workflow():
    workflow = UUID(int=7)
    taken = RunStarted(run_id=RUN, at=NOW, workflow_id=workflow, nodes=())
    log = Gateway(NODE_QUEUED, taken, STARTED, start=1).live.log
    assert [event.position for event in log.after(workflow, 0)] == [1, 2, 3]
    assert [event.position for event in log.after(RUN, 0)] == [1, 2, 3]


def test_events_that_came_before_their_runs_workflow_was_known_are_in_their_places_and_leave_them(monkeypatch):
    monkeypatch.setattr(event_log, "MAX_EVENTS", 4)
    workflow, other = UUID(int=7), UUID(int=9)
    gateway = Gateway(start=1)
    gateway.tell(b"1")
    gateway.tell(b"2", run_id=other)
    gateway.tell(b"3")
    log = gateway.live.log
    log.belongs(other, workflow, None)
    log.belongs(RUN, workflow, None)
    log.belongs(RUN, workflow, None)
    assert [event.body for event in log.after(workflow, 0)] == [b"1", b"2", b"3"]
    for body in (b"4", b"5", b"6"):
        gateway.tell(body)
    assert [event.body for event in log.after(workflow, 0)] == [b"3", b"4", b"5", b"6"]


def test_the_log_tells_apart_the_runs_of_owners_whose_workflows_have_the_same_id():
    workflow = UUID(int=7)
    command = RunStart(run_id=RUN, graph=WorkflowGraph(nodes=(), edges=()), owner="shop")
    taken = RunStarted(run_id=RUN, at=NOW, workflow_id=workflow, nodes=(), command=command)
    log = Gateway(taken, STARTED, start=1).live.log
    told = {owner: len(log.after(topic_of(workflow, owner), 0)) for owner in (None, "shop", "another")}
    assert told == {None: 2, "shop": 2, "another": 0}


def test_subscriptions_leave_nothing_behind():
    live = LiveEvents()
    with live.subscribe(RUN, 0), live.subscribe(RUN, 0), live.subscribe(UUID(int=2), 0):
        assert live.watchers() == 3
    assert live.watchers() == 0


@pytest.mark.parametrize(("update", "kind"), [(RUNNING, "run.snapshot"), (NODE_QUEUED, "node.queued")])
def test_an_update_is_sent_by_its_kind_as_one_line(update, kind):
    event = to_sse(Told(EventId(7), update))
    assert (event.event, event.id) == (kind, "7")
    assert type(update).model_validate_json(event.raw_data or "") == update
    assert "\n" not in (event.raw_data or "")


@pytest.mark.parametrize("id_", [EventId(-1), EventId(0), EventId(12), EventId(12, ends=True)])
def test_an_id_is_read_as_it_was_written(id_):
    assert read_event_id(str(id_)) == id_


@pytest.mark.parametrize("text", [None, "", "x", "-2", "1.5", "1.end.end", "9" * 30, "\u0661"])
def test_an_id_of_others_is_none(text):
    assert read_event_id(text) is None


async def test_an_end_that_came_before_anybody_waited_is_noticed(monkeypatch):
    monkeypatch.setattr(waiting, "RECORD_SECONDS", 0.01)
    gateway, tracker = Gateway(NODE_QUEUED, FINISHED), Tracker(RUNNING, COMPLETED)

    class Asked(Runs):
        def __init__(self): ...

        async def get(self, run_id, *, patience=0.0):
            return await tracker.ask()

    async with asyncio.timeout(waiting.LOOK_SECONDS - 1):
        assert await waiting.wait_for_end(RUNNING, Asked(), gateway.live, 30) == COMPLETED
    assert tracker.asked == 2


ENDED = FINISHED.model_copy(update={"nodes": {"a": NodeStatus.SUCCESS}})


async def test_an_end_that_overtook_what_led_to_it_is_told_after_it():
    assert await told(RUNNING, Tracker(RUNNING), ENDED, SUCCEEDED) == [RUNNING, SUCCEEDED, ENDED]


@pytest.mark.parametrize(
    ("tracker", "last"),
    [(Tracker(RUNNING, COMPLETED), COMPLETED), (Tracker(unavailable("no_answer", "the tracker is away")), ENDED)],
    ids=["recorded", "tracker away"],
)
async def test_an_end_without_what_led_to_it_is_told_all_the_same(tracker, last):
    assert await told(RUNNING, tracker, ENDED) == [RUNNING, last]


async def test_a_job_that_is_told_to_wait_when_it_is_over_is_no_news():
    assert await told(RUNNING, Tracker(RUNNING), SUCCEEDED, NODE_QUEUED, ENDED) == [RUNNING, SUCCEEDED, ENDED]
