"""Replaying dead letters, without a broker: what is asked of whom, and which letters may be removed."""

from dataclasses import replace
from unittest.mock import create_autospec
from uuid import UUID

import pytest

from gateway import replays
from gateway.domain.callers import Caller, KeyScope
from gateway.plans import Plans
from gateway.replays import Replays
from gateway.starts import Starts
from gateway.tracker_client import TrackerClient
from shared.contracts.commands import NodeExecute
from shared.contracts.dead_letters import LetterOutcome
from shared.contracts.errors import unavailable
from shared.contracts.operations import AttemptStand
from shared.contracts.queries import RunView
from shared.contracts.states import NodeStatus, RunStatus
from shared.messaging.dead_letters import Death, Letter
from shared.messaging.publisher import Publisher

RUN, NEW = UUID(int=1), UUID(int=2)
ADMIN = Caller(UUID(int=9), "admins", frozenset({KeyScope.ADMIN}))


def letter(number=1, node_id: str | None = "ask", queue="dead.jobs.llm"):
    return Letter(
        id=f"{number:016x}",
        queue=queue,
        tag=number,
        kind="node.execute",
        content_type="application/json",
        message_id=None,
        run_id=RUN if node_id else None,
        told_of=(),
        node_id=node_id,
        attempt=1,
        death=Death(),
        headers={},
        body=b"{}",
    )


def stand(status=NodeStatus.FAILED, run=RunStatus.RUNNING, latest=1, node_id="ask"):
    return AttemptStand(
        run_id=RUN, node_id=node_id, attempt=1, run_status=run, owner="alice", status=status, latest=latest
    )


class Bench:
    """A `Replays` whose neighbours are stand-ins, and the letters that it let go."""

    def __init__(self):
        self.publisher = create_autospec(Publisher, instance=True)
        self.tracker = create_autospec(TrackerClient, instance=True)
        self.plans = create_autospec(Plans, instance=True)
        self.starts = create_autospec(Starts, instance=True)
        self.plans.seen_by.return_value = self.plans
        self.starts.seen_by.return_value = self.starts
        self.starts.start.return_value = RunView(run_id=NEW, status=RunStatus.QUEUED)
        self.removed = []
        self.replays = Replays(self.publisher, self.tracker, self.plans, self.starts).seen_by(ADMIN)

    async def replay(self, *letters, **params):
        async def remove(letter):
            self.removed.append(letter.id)

        results = await self.replays.replay(letters, params, remove)
        return [(result.outcome, result.problem and result.problem.code) for result in results]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(replays, "PATIENCE", 0.1)
    return Bench()


async def test_a_letter_is_let_go_when_a_later_attempt_is_known(bench):
    bench.tracker.find_attempts.side_effect = [[stand()], [stand()], [stand(NodeStatus.QUEUED, latest=2)]]
    assert await bench.replay(letter()) == [(LetterOutcome.REJOINED, None)]
    (command,) = bench.publisher.publish.await_args.args
    assert (command.kind, command.attempt, command.params) == ("node.replay", 1, None)
    assert bench.removed == [letter().id]


async def test_what_nobody_takes_in_stays(bench):
    bench.tracker.find_attempts.return_value = [stand()]
    assert await bench.replay(letter()) == [(LetterOutcome.FAILED, "not_taken_in")]
    assert bench.removed == []


async def test_a_job_whose_death_is_not_known_yet_is_waited_for(bench):
    bench.tracker.find_attempts.side_effect = [[stand(NodeStatus.RUNNING)], [stand(run=RunStatus.FAILED)]]
    assert await bench.replay(letter()) == [(LetterOutcome.RESUMED, None)]
    bench.publisher.publish.assert_not_awaited()


async def test_a_run_that_ends_meanwhile_is_taken_up(bench):
    bench.tracker.find_attempts.side_effect = [[stand()], [stand(run=RunStatus.PARTIAL)]]
    assert await bench.replay(letter()) == [(LetterOutcome.RESUMED, None)]


async def test_a_run_is_taken_up_once_for_all_its_letters_as_its_owner(bench):
    names = ("a", "b", "c")
    bench.tracker.find_attempts.return_value = [stand(run=RunStatus.FAILED, node_id=name) for name in names]
    letters = [letter(number, name) for number, name in enumerate(names)]
    assert await bench.replay(*letters) == [(LetterOutcome.RESUMED, None)] * 3
    bench.starts.start.assert_awaited_once()
    (owner,) = {call.args[0].owner for call in bench.starts.seen_by.call_args_list}
    assert (owner, len(bench.removed)) == ("alice", 3)


async def test_what_cannot_be_resumed_stays(bench):
    bench.tracker.find_attempts.return_value = [stand(run=RunStatus.FAILED)]
    bench.starts.start.side_effect = unavailable("publish_failed", "the broker did not confirm")
    assert await bench.replay(letter()) == [(LetterOutcome.FAILED, "publish_failed")]
    assert bench.removed == []


async def test_params_of_what_cannot_be_read_cannot_be_edited(bench):
    bench.tracker.find_attempts.return_value = [stand()]
    assert await bench.replay(letter(), model="other") == [(LetterOutcome.FAILED, "unreadable_job")]


async def test_params_that_do_not_fit_are_not_sent(bench):
    bench.tracker.find_attempts.return_value = [stand()]
    job = NodeExecute(run_id=RUN, node_id="ask", node_type="llm", params={"userMessage": "?"})
    readable = replace(letter(), body=job.to_json())
    assert await bench.replay(readable, nonsense=1) == [(LetterOutcome.FAILED, "invalid_params")]
    bench.publisher.publish.assert_not_awaited()
    assert bench.removed == []


async def test_what_is_no_job_goes_back_and_a_broker_that_does_not_take_it_leaves_it(bench):
    bench.publisher.republish.side_effect = [None, unavailable("unroutable", "no queue is bound")]
    letters = letter(1, None), letter(2, queue="dead.orchestrator.results")
    assert await bench.replay(*letters) == [(LetterOutcome.REPUBLISHED, None), (LetterOutcome.FAILED, "unroutable")]
    assert bench.removed == [letters[0].id]
    bench.tracker.find_attempts.assert_not_awaited()


async def test_letters_that_would_come_too_late_are_not_begun(bench, monkeypatch):
    monkeypatch.setattr(replays, "BATCH_SECONDS", -1.0)
    assert await bench.replay(letter(1, None)) == [(LetterOutcome.FAILED, "replay_too_slow")]
    bench.publisher.republish.assert_not_awaited()
