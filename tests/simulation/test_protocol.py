"""Whatever happens between the parts, everything settles clean; and the simulation notices when it does not.

`WEFT_SIMULATION_EXAMPLES` says how many histories are tried.
"""

import asyncio
import os
from dataclasses import replace

import pytest
from asyncpg import UniqueViolationError
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.simulation.machine import Protocol
from tests.simulation.world import World

from orchestrator import journal
from orchestrator.domain import change, evolve, intake
from orchestrator.journal import Journal
from orchestrator.reconciler import Reconciler
from shared.contracts.states import IllegalTransitionError, NodeStatus
from shared.database import connect_database

EXAMPLES = int(os.environ.get("WEFT_SIMULATION_EXAMPLES", "60"))
MUTANT_EXAMPLES = 1_500  # until a broken core is noticed; mostly far fewer are needed
NOTICED = (AssertionError, IllegalTransitionError, UniqueViolationError)
COMMON = settings(deadline=None, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def machine(stack):
    """The state machine, on a connection whose commits need not wait for the disk: it never loses power here."""
    with asyncio.Runner() as runner:
        url = f"{stack.database_url}{'&' if '?' in stack.database_url else '?'}synchronous_commit=off"
        opened = connect_database(url, name="simulation", patience=5, schema="orchestrator")
        database = runner.run(opened.__aenter__())
        yield type("Machine", (Protocol,), {"database": database, "runner": runner})
        runner.run(opened.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def trusting(monkeypatch):
    """Replicas write from memory again soon after one of them was late: histories are short."""
    monkeypatch.setattr(journal, "WARY_BATCHES", 1)


def test_everything_settles_clean(machine):
    run_state_machine_as_test(machine, settings=settings(COMMON, max_examples=EXAMPLES))


def acknowledge_before_publishing(monkeypatch):
    async def deliver(self, replica, count, *, dies_after=None, ack_lost=False):
        batch = self._batch(count)
        self._acknowledge(batch)
        await self._handle(replica, batch, dies_after)

    monkeypatch.setattr(World, "deliver", deliver)


def take_every_message_for_news(monkeypatch):
    monkeypatch.setattr(evolve, "is_news", lambda state, event: event.node_id in state.nodes)
    monkeypatch.setattr(intake, "is_news", lambda state, event: event.node_id in state.nodes)


def begin_a_join_with_its_first_input(monkeypatch):
    original = change.Change._spread_from

    def spread(self, ended):
        for following in self._plan.successors[ended]:
            node = self._nodes[following]
            if node.status is NodeStatus.PENDING and node.waiting_for > 1:
                self._nodes[following] = replace(node, waiting_for=1)
        original(self, ended)

    monkeypatch.setattr(change.Change, "_spread_from", spread)


def forget_what_a_repeated_message_causes(monkeypatch):
    original = intake.decided
    monkeypatch.setattr(
        "orchestrator.batch.decided", lambda state, taken: original(state, taken) if taken.is_new else []
    )


def do_not_read_what_other_replicas_wrote(monkeypatch):
    original = Journal._catch_up

    async def catch_up(self, connection, runs):
        unknown = {run_id: run for run_id, run in runs.items() if run.state is None}
        await original(self, connection, unknown)

    monkeypatch.setattr(Journal, "_catch_up", catch_up)


def write_from_memory_though_others_wrote_first(monkeypatch):
    monkeypatch.setattr(journal, "_WRITE", f"{journal._WRITE} ON CONFLICT DO NOTHING")


def never_look_for_lost_timers(monkeypatch):
    async def reconcile(self, runs, seen):
        pass

    monkeypatch.setattr(Reconciler, "_reconcile", reconcile)


def bring_back_also_what_is_behind_another_failure(monkeypatch):
    def may_revive(self, node_id):
        return self._nodes[node_id].status is NodeStatus.SKIPPED

    monkeypatch.setattr(change.Change, "_may_revive", may_revive)


@pytest.mark.parametrize(
    "mutate",
    [
        acknowledge_before_publishing,
        take_every_message_for_news,
        begin_a_join_with_its_first_input,
        forget_what_a_repeated_message_causes,
        do_not_read_what_other_replicas_wrote,
        write_from_memory_though_others_wrote_first,
        never_look_for_lost_timers,
        bring_back_also_what_is_behind_another_failure,
    ],
    ids=lambda mutate: mutate.__name__,
)
def test_a_broken_protocol_is_noticed(machine, monkeypatch, mutate):
    mutate(monkeypatch)
    tried = settings(
        COMMON, max_examples=MUTANT_EXAMPLES, phases=[Phase.generate], derandomize=True, database=None, print_blob=False
    )
    with pytest.raises(NOTICED):
        run_state_machine_as_test(machine, settings=tried)
