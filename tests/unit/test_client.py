"""The client, and following a run: against answers made here, over httpx2's mock transport."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import httpx2
import pytest

from cli.errors import WaitTimedOutError
from cli.follow import Follower
from shared.client import AsyncClient, following
from shared.client.answers import SILENCE_SECONDS
from shared.contracts.errors import InvalidInputError, Problem, UnavailableError
from shared.contracts.events import NodeStarted, RunFinished, RunRejected
from shared.contracts.queries import NodeView, RunView
from shared.contracts.states import NodeStatus, RunStatus

RUN, WORKFLOW = UUID(int=7), UUID(int=9)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = NodeView(node_id="a", node_type="llm", status=NodeStatus.QUEUED)
RUNNING = RunView(run_id=RUN, status=RunStatus.RUNNING, created_at=NOW, nodes=(NODE,))
COMPLETED = RUNNING.model_copy(update={"status": RunStatus.COMPLETED, "finished_at": NOW})
STARTED = NodeStarted(run_id=RUN, node_id="a", node_type="llm", at=NOW, worker="w")
FINISHED = RunFinished(
    run_id=RUN, at=NOW, status=RunStatus.COMPLETED, total_nodes=1, successful_nodes=1, failed_nodes=0
)


def sse(*updates, start=0):
    kinds = [("run.snapshot" if isinstance(item, RunView) else item.kind, item) for item in updates]
    return b"".join(
        f"event: {kind}\ndata: {item.to_json().decode()}\nid: {start + number}\n\n".encode()
        for number, (kind, item) in enumerate(kinds)
    )


class Line(httpx2.AsyncByteStream):
    """A stream of events that ends in order, breaks, or goes on without saying anything but `: heartbeat`."""

    def __init__(self, content, *, ending="closed"):
        self.content, self.ending = content, ending

    async def __aiter__(self):
        yield self.content
        if self.ending == "broken":
            raise httpx2.ReadError("the line broke")
        if self.ending == "endless":
            yield b": heartbeat\n\n"
            await asyncio.Event().wait()


class FakeGateway:
    """Answers each path with what was laid out for it, in order; the last answer again and again."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def __call__(self, request):
        self.asked.append(request.headers.get("last-event-id"))
        answers = self.answers[request.url.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Line):
            return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, stream=answer)
        return answer


def connect(**answers):
    paths = {
        "events": f"/api/workflows/runs/{RUN}/events",
        "run": f"/api/workflows/runs/{RUN}",
        "runs": "/api/workflows/runs",
        "workflow": f"/api/workflows/{WORKFLOW}",
    }
    fake = FakeGateway({paths[name]: list(answer) for name, answer in answers.items()})
    return fake, AsyncClient("http://gateway.test", transport=httpx2.MockTransport(fake))


def json(view):
    return httpx2.Response(200, content=view.to_json())


async def followed(gateway, **how):
    return [update async for update in gateway.follow(RUN, **how)]


async def follow_run(gateway, patience=10.0):
    seen = []
    follower = Follower(gateway, RUNNING, lambda progress, _: seen.append(progress.run.status))
    async with gateway:
        return await follower.until_end(patience), seen


async def test_a_run_is_followed_to_its_record():
    _, gateway = connect(events=[Line(sse(RUNNING, STARTED, FINISHED))], run=[json(COMPLETED)])
    run, seen = await follow_run(gateway)
    assert run == COMPLETED
    assert seen[-1] is RunStatus.COMPLETED


async def test_a_run_whose_name_belongs_to_another_is_not_waited_for():
    problem = Problem(code="trigger_conflict", message="it belongs to another run")
    rejected = RunRejected(run_id=RUN, at=NOW, existing_run_id=UUID(int=8), problem=problem)
    _, gateway = connect(events=[Line(sse(RUNNING, rejected))])
    with pytest.raises(InvalidInputError, match="trigger_conflict"):
        await follow_run(gateway)


async def test_a_broken_line_is_taken_up_again():
    lines = [Line(sse(RUNNING), ending="broken"), httpx2.ConnectError("away"), Line(sse(RUNNING, FINISHED))]
    fake, gateway = connect(events=lines, run=[json(COMPLETED)])
    run, _ = await follow_run(gateway)
    assert run.status is RunStatus.COMPLETED
    assert len(fake.asked) == 4


async def test_a_stream_that_ends_before_the_run_is_taken_up_again():
    _, gateway = connect(events=[Line(sse(RUNNING)), Line(sse(COMPLETED))], run=[json(COMPLETED)])
    assert (await follow_run(gateway))[0].status is RunStatus.COMPLETED


async def test_a_record_that_comes_late_is_waited_for():
    _, gateway = connect(events=[Line(sse(RUNNING, FINISHED))], run=[json(RUNNING), json(RUNNING), json(COMPLETED)])
    assert (await follow_run(gateway))[0].status is RunStatus.COMPLETED


async def test_heartbeats_do_not_hold_off_the_time_limit():
    _, gateway = connect(events=[Line(sse(RUNNING), ending="endless")])
    with pytest.raises(WaitTimedOutError) as caught:
        await follow_run(gateway, patience=0.05)
    assert str(RUN) in caught.value.problems[0].message
    assert str(RUN) in (caught.value.problems[0].fix or "")


async def test_a_gateway_that_stays_away_is_given_up_with_the_id_of_the_run():
    _, gateway = connect(events=[httpx2.ConnectError("refused")])
    async with gateway:
        with pytest.raises(UnavailableError) as caught:
            await followed(gateway, patience=0)
    assert [problem.code for problem in caught.value.problems] == ["gateway_unreachable", "not_followed"]
    assert str(RUN) in (caught.value.problems[1].fix or "")


@pytest.fixture
def clock(monkeypatch):
    """The time as it is seen by who counts attempts; pauses are over at once."""
    clock = Clock()
    monkeypatch.setattr(following, "time", clock)
    monkeypatch.setattr("shared.client.asynchronous.asyncio", SimpleNamespace(sleep=clock.sleep))
    return clock


class Clock:
    def __init__(self):
        self.now = 1_000.0
        self.pauses = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        assert len(self.pauses) < 1_000, "this goes on for ever"
        self.pauses.append(seconds)
        self.now += seconds


class SlowLine(Line):
    """A stream that takes its time on the clock, without a word, before it ends in its way, or dies of silence."""

    def __init__(self, content, clock, seconds, *, ending="broken"):
        super().__init__(content, ending=ending)
        self.clock, self.seconds = clock, seconds

    async def __aiter__(self):
        async for piece in super().__aiter__():
            yield piece
            self.clock.now += self.seconds
            if self.ending == "silent":
                raise httpx2.ReadTimeout("nothing came")


@pytest.mark.parametrize("ending", ["broken", "closed", "silent"])
async def test_a_quiet_run_is_taken_up_again_however_long_nothing_was_told(clock, ending):
    _, gateway = connect(events=[SlowLine(sse(RUNNING), clock, 300, ending=ending), Line(sse(FINISHED, start=1))])
    async with gateway:
        assert await followed(gateway) == [RUNNING, FINISHED]


async def test_a_stream_that_held_and_told_nothing_was_no_failure(clock):
    quiet = [SlowLine(b": heartbeat\n\n", clock, 300) for _ in range(3)]
    _, gateway = connect(events=[Line(sse(RUNNING)), *quiet, Line(sse(FINISHED, start=1))])
    async with gateway:
        assert await followed(gateway) == [RUNNING, FINISHED]


@pytest.mark.parametrize("content", [b"", sse(RUNNING)])
async def test_a_stream_that_is_closed_as_soon_as_it_is_opened_is_given_up_in_time(clock, content):
    fake, gateway = connect(events=[Line(content)])
    async with gateway:
        with pytest.raises(UnavailableError, match="not_followed"):
            await followed(gateway)
    assert sum(clock.pauses) == pytest.approx(following.PATIENCE_SECONDS, abs=3)
    assert len(fake.asked) < 30


async def test_a_line_that_is_silent_from_the_start_is_given_up(clock):
    fake, gateway = connect(events=[SlowLine(b"", clock, SILENCE_SECONDS, ending="silent")])
    async with gateway:
        with pytest.raises(UnavailableError, match="not_followed"):
            await followed(gateway)
    assert len(fake.asked) == 2


async def test_no_gateway_says_how_to_start_one():
    _, gateway = connect(runs=[httpx2.ConnectError("refused")])
    async with gateway:
        with pytest.raises(UnavailableError) as caught:
            await gateway.runs(None, {"limit": 5})
    assert caught.value.code == "gateway_unreachable"
    assert "weft dev" in (caught.value.problems[0].fix or "")


@pytest.mark.parametrize(
    ("status", "error"), [(404, InvalidInputError), (422, InvalidInputError), (503, UnavailableError)]
)
async def test_the_problems_of_the_gateway_are_raised_all(status, error):
    problems = [{"code": "one", "message": "first"}, {"code": "two", "message": "second", "nodeId": "n"}]
    _, gateway = connect(run=[httpx2.Response(status, json={"problems": problems})])
    async with gateway:
        with pytest.raises(error) as caught:
            await gateway.run(RUN)
    assert [problem.code for problem in caught.value.problems] == ["one", "two"]


@pytest.mark.parametrize(
    "answer", [httpx2.Response(502, text="<html>"), httpx2.Response(200, text="hello"), httpx2.Response(404, json=[])]
)
async def test_what_is_no_gateway_is_told_apart(answer):
    _, gateway = connect(run=[answer])
    async with gateway:
        with pytest.raises(UnavailableError) as caught:
            await gateway.run(RUN)
    assert caught.value.code == "gateway_not_understood"


async def test_an_address_without_events_is_no_gateway():
    _, gateway = connect(events=[httpx2.Response(200, text="hello")])
    async with gateway:
        with pytest.raises(UnavailableError):
            await followed(gateway, patience=0)


async def test_a_line_that_breaks_is_taken_up_where_it_broke():
    lines = [Line(sse(RUNNING, STARTED, start=4), ending="broken"), Line(sse(FINISHED, start=6))]
    fake, gateway = connect(events=lines)
    async with gateway:
        assert await followed(gateway) == [RUNNING, STARTED, FINISHED]
    assert fake.asked == [None, "5"]


async def test_an_end_that_was_told_is_not_asked_for_again():
    fake, gateway = connect(events=[Line(sse(RUNNING)), httpx2.Response(204)])
    async with gateway:
        assert await followed(gateway) == [RUNNING]
    assert len(fake.asked) == 2


async def test_an_event_of_a_later_version_is_left_out():
    content = b"event: run.paused\ndata: {}\nid: 3\n\n" + sse(COMPLETED)
    _, gateway = connect(events=[Line(content)])
    async with gateway:
        assert await followed(gateway) == [COMPLETED]


async def test_waiting_returns_the_record_and_ends_in_time():
    _, gateway = connect(events=[Line(sse(RUNNING, FINISHED))], run=[json(COMPLETED)])
    async with gateway:
        assert await gateway.wait(RUN) == COMPLETED
    _, gateway = connect(events=[Line(sse(RUNNING), ending="endless")])
    async with gateway:
        with pytest.raises(TimeoutError):
            await gateway.wait(RUN, timeout=0.05)


async def test_the_key_goes_along():
    keys = []

    async def answer(request):
        keys.append(request.headers["authorization"])
        return httpx2.Response(200, json={"runs": []})

    gateway = AsyncClient("http://gateway.test", api_key="weft_x", transport=httpx2.MockTransport(answer))
    async with gateway:
        assert (await gateway.runs()).runs == ()
    assert keys == ["Bearer weft_x"]


async def test_the_graph_is_learnt_for_drawing_and_done_without_where_it_is_gone():
    graph = {"nodes": [{"id": "a", "type": "llm"}], "edges": []}
    kept = {"id": str(WORKFLOW), "version": 2, "name": "x", "createdAt": "2026-01-01T00:00:00Z", "graph": graph}
    gone = httpx2.Response(404, json={"problems": [{"code": "workflow_not_found", "message": "no"}]})
    accepted = RUNNING.model_copy(update={"workflow_id": WORKFLOW, "workflow_version": 2})
    for answer, known in ((httpx2.Response(200, json=kept), ["a"]), (gone, None)):
        seen = []
        _, gateway = connect(workflow=[answer], events=[Line(sse(COMPLETED))], run=[json(COMPLETED)])
        follower = Follower(gateway, accepted, lambda progress, _, seen=seen: seen.append(progress.graph))
        async with gateway:
            await follower.learn_graph()
            await follower.until_end(10)
        assert (seen[-1] and [node.id for node in seen[-1].nodes]) == known
