"""What the levels of queues mean: rates over the last minutes, time to drain, warnings."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.domain.levels import by_node_type, with_consumers_missed
from gateway.domain.rates import BUCKET_SECONDS, WINDOW_SECONDS, Flow, Rates, first_jobs
from shared.contracts.events import NodeSummary, RunStarted
from shared.contracts.queues import QueueLevel
from shared.contracts.states import NodeStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = 1_000_000.0


def jobs(ready: int | None = 0, unacked: int | None = 0, consumers: int | None = 1, lane: str = "") -> QueueLevel:
    return QueueLevel(name=f"jobs.llm{lane}", node_type="llm", ready=ready, unacked=unacked, consumers=consumers)


def level(*queues: QueueLevel, flow: Flow | None = None, oldest: datetime | None = None):
    flows = {"llm": flow or Flow()}
    (found,) = by_node_type(["llm"], queues, flows, {"llm": oldest} if oldest else {}, NOW)
    return found


def codes(problems):
    return [problem.code for problem in problems]


def told(count: int, kind: str, *, at: float = START, rates: Rates | None = None) -> Rates:
    rates = rates or Rates(["llm"], START)
    for _ in range(count):
        rates.note(kind, "llm", at)
    return rates


def test_the_rate_is_taken_over_the_window():
    rates = told(600, "node.queued")
    told(300, "node.succeeded", at=START + 100, rates=rates)
    told(30, "node.failed", at=START + 200, rates=rates)
    assert rates.flow("llm", START + WINDOW_SECONDS) == Flow(600 / WINDOW_SECONDS, 330 / WINDOW_SECONDS)


def test_what_is_older_than_the_window_does_not_count():
    rates = told(50, "node.queued")
    told(1, "node.queued", at=START + 2 * WINDOW_SECONDS, rates=rates)
    assert rates.flow("llm", START + 2 * WINDOW_SECONDS).arriving == pytest.approx(1 / WINDOW_SECONDS)


def test_a_gateway_that_began_a_while_ago_knows_that_while_only():
    assert told(40, "node.queued").flow("llm", START + 20).arriving == 2
    assert told(40, "node.queued").flow("llm", START).arriving == 40 / BUCKET_SECONDS


def test_what_was_told_before_the_gateway_began_makes_the_time_longer_that_is_known():
    rates = told(10, "node.queued", at=START - 100)
    assert rates.flow("llm", START).arriving == pytest.approx(0.1)


@pytest.mark.parametrize(("kind", "node_type"), [("node.started", "llm"), ("node.queued", "nobody_knows")])
def test_nothing_else_is_counted(kind, node_type):
    rates = Rates(["llm"], START)
    rates.note(kind, node_type, START)
    assert rates.flow(node_type, START + 10) == Flow()


def test_the_first_jobs_of_a_run_are_those_that_its_start_tells_as_queued():
    statuses = {"a": NodeStatus.SUCCESS, "b": NodeStatus.QUEUED, "c": NodeStatus.PENDING, "d": NodeStatus.QUEUED}
    nodes = tuple(NodeSummary(node_id=name, node_type=f"type {name}", status=told) for name, told in statuses.items())
    begun = RunStarted(run_id=UUID(int=1), at=NOW, nodes=nodes)
    assert list(first_jobs(begun.to_json())) == ["type b", "type d"]
    assert list(first_jobs(b"{}")) == []


def test_the_lanes_of_a_type_are_summed_up_and_its_dead_letters_told_beside():
    dead = QueueLevel(name="dead.jobs.llm", node_type="llm", holds_dead_letters=True, ready=7, consumers=0)
    found = level(jobs(10, 2), jobs(5, 1, lane=".low"), dead, flow=Flow(0, 3), oldest=NOW - timedelta(seconds=90))
    assert (found.waiting, found.in_hand, found.dead_letters, found.consumers) == (15, 3, 7, 1)
    assert (found.drain_seconds, found.oldest_seconds) == (5, 90)
    assert found.warnings == ()


def test_what_is_not_known_is_not_zero():
    found = level(jobs(None, None), jobs(5, 1, lane=".low"))
    assert (found.waiting, found.in_hand, found.drain_seconds) == (None, None, None)


@pytest.mark.parametrize(("ready", "finishing", "seconds"), [(0, 0, 0), (10, 0, None), (10, 4, 2.5)])
def test_the_time_to_drain(ready, finishing, seconds):
    assert level(jobs(ready), flow=Flow(0, finishing)).drain_seconds == seconds


@pytest.mark.parametrize(
    ("ready", "flow", "warned"),
    [(21, Flow(2, 1), True), (20, Flow(2, 1), False), (21, Flow(1, 1), False), (0, Flow(2, 1), False)],
)
def test_a_backlog_that_grows_is_warned_of(ready, flow, warned):
    assert codes(level(jobs(ready), flow=flow).warnings) == (["growing_backlog"] if warned else [])


def test_a_type_without_workers_in_one_of_its_lanes_is_warned_of():
    assert codes(level(jobs(), jobs(consumers=0, lane=".low")).warnings) == ["no_consumer"]


def test_queues_that_nobody_consumes_are_warned_of_but_for_dead_letters_and_missing_ones():
    queues = [
        jobs(),
        jobs(consumers=0),
        jobs(consumers=None),
        QueueLevel(name="dead.jobs.llm", holds_dead_letters=True, consumers=0),
        QueueLevel(name="gone", exists=False),
    ]
    assert [codes(found.warnings) for found in with_consumers_missed(queues)] == [[], ["no_consumer"], [], [], []]
