"""Starting each run once: by name, by content, whoever asks first."""

import asyncio
from unittest.mock import create_autospec
from uuid import UUID, uuid4

import pytest

from gateway.acceptances import Acceptances
from gateway.domain.callers import Caller
from gateway.domain.identity import digest_of
from gateway.run_limits import RunLimits
from gateway.runs import Runs
from gateway.started_runs import StartedRuns
from gateway.starts import Starts
from gateway.tracker_client import TrackerClient
from gateway.views import ExecuteRequest, ResumeRequest
from shared.contracts.commands import MAX_START_BYTES, RunStart
from shared.contracts.errors import InvalidInputError, unavailable
from shared.contracts.graph import Node, WorkflowGraph
from shared.contracts.queries import RunEnd, RunView
from shared.contracts.states import RunStatus
from shared.contracts.values import TextValue
from shared.database import Database
from shared.messaging.publisher import Publisher

GRAPH = WorkflowGraph(nodes=(Node(id="a", type="text"),))
SUBJECT = "execute something"
ID, OTHER_ID = UUID(int=1), UUID(int=2)
QUEUED = RunView(run_id=ID, status=RunStatus.QUEUED, owner="somebody")


class Memory(StartedRuns):
    """Keeps starts as the table does; every call gives way to others first, so that requests overlap."""

    def __init__(self):
        self.kept = []

    async def find(self, run_id, trigger_run_id, owner):
        await asyncio.sleep(0)
        return tuple(item for item in self.kept if self.is_named(item.command, run_id, trigger_run_id, owner))

    async def add(self, started):
        await asyncio.sleep(0)
        command = started.command
        names = (command.run_id, command.trigger_run_id, command.owner)
        taken = any(self.is_named(item.command, *names) for item in self.kept)
        self.kept += [] if taken else [started]
        return not taken

    def is_named(self, command, run_id, trigger_run_id, owner):
        by_trigger = trigger_run_id and (command.owner, command.trigger_run_id) == (owner, trigger_run_id)
        return command.run_id == run_id or by_trigger


class Published:
    """Stands for `Runs`: remembers what was published; knows those runs, and is `away` if it cannot be asked."""

    def __init__(self):
        self.commands = []
        self.away = False

    async def start(self, command):
        self.commands.append(command)
        return RunView(run_id=command.run_id, status=RunStatus.QUEUED)

    start_again = start

    async def is_known(self, run_id):
        await asyncio.sleep(0)
        if self.away:
            raise unavailable("no_answer", "the tracker is away")
        return any(command.run_id == run_id for command in self.commands)

    def seen_by(self, caller):
        return self


@pytest.fixture
def published():
    return Published()


@pytest.fixture
def start(published):
    limits = RunLimits(create_autospec(Database, instance=True), create_autospec(TrackerClient, instance=True))
    starts = Starts(Memory(), published, limits)

    async def start(subject=SUBJECT, owner="somebody", **wishes):
        request = ExecuteRequest(**wishes)

        async def plan():
            await asyncio.sleep(0)
            return RunStart(
                run_id=request.run_id or uuid4(),
                graph=GRAPH,
                inputs=request.inputs,
                trigger_run_id=request.trigger_run_id,
            )

        caller = Caller(UUID(int=9), owner, frozenset())
        return (await starts.seen_by(caller).start(subject, request, plan)).run_id

    return start


async def test_what_has_no_name_is_started_whenever_it_is_asked_for(start, published):
    assert await start() != await start()
    assert len(published.commands) == 2


@pytest.mark.parametrize("name", [{"trigger_run_id": "t"}, {"run_id": ID}])
async def test_fifty_equal_requests_start_one_run_with_one_command(start, published, name):
    ids = await asyncio.gather(*(start(**name) for _ in range(50)))
    assert len(set(ids)) == 1
    assert len(published.commands) == 50
    assert len(set(map(RunStart.to_json, published.commands))) == 1


async def test_a_trigger_names_its_run_whatever_id_is_asked_for_later(start):
    assert await start(trigger_run_id="t", run_id=ID) == ID
    assert await start(trigger_run_id="t", run_id=OTHER_ID) == ID
    assert await start(trigger_run_id="t") == ID


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({"trigger_run_id": "t"}, {"trigger_run_id": "t", "inputs": {"a": TextValue(text="x")}}, "trigger_conflict"),
        ({"trigger_run_id": "t"}, {"trigger_run_id": "t", "subject": "execute another"}, "trigger_conflict"),
        ({"run_id": ID}, {"run_id": ID, "inputs": {"a": TextValue(text="x")}}, "run_conflict"),
        ({"run_id": ID}, {"run_id": ID, "trigger_run_id": "t"}, "run_conflict"),
    ],
)
async def test_a_name_of_another_request_is_a_conflict_that_names_its_run(start, published, first, second, code):
    existing = await start(**first)
    with pytest.raises(InvalidInputError) as caught:
        await start(**second)
    assert caught.value.code == code
    assert str(existing) in caught.value.problems[0].message
    assert len(published.commands) == 1


async def test_each_owner_has_trigger_ids_of_their_own(start, published):
    assert await start(trigger_run_id="t") != await start(trigger_run_id="t", owner="another")
    assert [command.owner for command in published.commands] == ["somebody", "another"]


async def test_the_run_of_another_owner_is_not_told_to_who_asks_for_the_same_under_its_id(start):
    await start(run_id=ID)
    with pytest.raises(InvalidInputError, match="run_conflict"):
        await start(run_id=ID, owner="another")


@pytest.mark.parametrize("owner", ["somebody", "another"])
async def test_the_id_of_a_run_that_was_started_without_a_name_is_a_conflict(start, published, owner):
    existing = await start()
    with pytest.raises(InvalidInputError, match="run_conflict"):
        await start(run_id=existing, owner=owner)
    assert len(published.commands) == 1


async def test_a_repetition_that_overlaps_with_the_first_request_is_no_conflict(start, published):
    is_known = published.is_known

    async def another_is_faster(run_id):
        published.is_known = is_known
        await start(run_id=run_id)
        return await is_known(run_id)

    published.is_known = another_is_faster
    assert await start(run_id=ID) == ID
    assert len(set(map(RunStart.to_json, published.commands))) == 1


async def test_a_start_goes_on_where_nobody_can_say_whose_its_id_is(start, published):
    published.away = True
    assert await start(run_id=ID) == ID


@pytest.mark.parametrize(
    ("accepted", "tracked", "known"),
    [(None, (), False), (QUEUED, (), True), (None, (RunEnd(run_id=ID, ended=False),), True)],
)
async def test_a_run_is_known_as_soon_as_it_is_accepted_whosever_it_is(accepted, tracked, known):
    acceptances = create_autospec(Acceptances, instance=True)
    tracker = create_autospec(TrackerClient, instance=True)
    acceptances.find.return_value, tracker.find_ends.return_value = accepted, tracked
    runs = Runs(create_autospec(Publisher, instance=True), tracker, acceptances, Caller(ID, "another", frozenset()))
    assert await runs.is_known(ID) is known


async def test_a_start_over_the_limit_is_not_begun_and_takes_no_name(start, published):
    with pytest.raises(InvalidInputError, match="start_too_large"):
        await start(trigger_run_id="t", inputs={"a": TextValue(text=MAX_START_BYTES * "x")})
    assert published.commands == []
    await start(trigger_run_id="t")


def digest(body, subject=SUBJECT):
    return digest_of(subject, ResumeRequest.model_validate(body))


def test_requests_are_the_same_by_what_they_say():
    one = {"params": {"a": {"x": 1, "y": 2}}, "fromNode": "b", "runId": str(ID)}
    other = {"fromNode": "b", "runId": str(OTHER_ID), "params": {"a": {"y": 2, "x": 1}}}
    assert digest(one) == digest(other)
    assert digest(one) != digest(one, "resume another")
    assert digest({"options": {}}) != digest({"options": {"budget": None}})
    assert digest({"triggerRunId": "a"}) != digest({"triggerRunId": "b"})
