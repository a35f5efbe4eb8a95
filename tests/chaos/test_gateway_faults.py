"""Gateways killed behind clients that watch, and requests repeated at two of them."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import httpx2
from pydantic import JsonValue
from tests.chaos.fleet import API_KEY, GATEWAYS, LLM_WORKER, MODEL, TRACKER
from tests.chaos.graphs import DIAMOND
from tests.chaos.scale import repeated, scaled
from tests.chaos.waiting import eventually

from shared.client import AsyncClient, ExecuteRequest
from shared.messaging.connection import connect
from shared.messaging.live import EventFeed

BACKEND = (MODEL, "orchestrator", TRACKER, LLM_WORKER)
KEY = {"Authorization": f"Bearer {API_KEY}"}
ANEW: dict[str, JsonValue] = {"useCache": False}
WATCHERS = 5
POSTS = scaled(full=1_000, short=40)
PAUSE_SECONDS = 0.3
PATIENCE_SECONDS = 60.0


class Watcher:
    """A client of the plainest kind: it remembers the id of the last event, and comes back with it, to any gateway."""

    def __init__(self, urls, run_id):
        self.urls, self.path = urls, f"/api/workflows/runs/{run_id}/events"
        self.last_id, self.connections, self.ended = "", 0, False
        self.told = []

    async def until_end(self):
        while not self.ended:
            with suppress(httpx2.TransportError):
                await self.watch()

    async def watch(self):
        url = self.urls[self.connections % len(self.urls)]
        self.connections += 1
        headers = {"Last-Event-ID": self.last_id, **KEY} if self.last_id else KEY
        async with (
            httpx2.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http,
            http.sse(self.path, headers=headers) as source,
        ):
            assert source.response.status_code == 200
            async for event in source:
                self.last_id = event.id
                self.told.append((event.event, json.loads(event.data), event.id))
                self.ended = event.id.endswith(".end")

    @property
    def ids(self):
        return [int(id_.removesuffix(".end")) for kind, _, id_ in self.told if kind != "run.snapshot"]


class Everything:
    """All events, as the stream on the broker holds them."""

    def __init__(self):
        self.events, self.newest = {}, -1

    def take(self, told):
        # The first telling of a fact counts; the others are repetitions.
        self.events.setdefault((told.run_id, told.message_id), told.position)
        self.newest = told.position

    async def between(self, run_id, after, until):
        async def is_known():
            return self.newest >= until

        await eventually("the stream was read", is_known, within=PATIENCE_SECONDS)
        return sorted(at for (run, _), at in self.events.items() if run == run_id and after < at <= until)


@asynccontextmanager
async def client_of(system, name=GATEWAYS[0]):
    async with AsyncClient(system.fleet.url(name), api_key=API_KEY) as client:
        yield client


async def save(system):
    async with client_of(system) as client:
        return (await client.save_workflow(DIAMOND.model_dump(mode="json", exclude_none=True))).id


async def start_and_hold(system, workflow):
    """Return a run whose first two nodes wait for the model, once it is recorded that they do."""
    await system.hold_model_calls(2)
    async with client_of(system) as client:
        run_id = (await client.execute(workflow, ExecuteRequest(options=ANEW))).run_id
        await system.model_calls(held=2)

        async def is_recorded():
            statuses = {node.node_id: node.status for node in (await client.run(run_id)).nodes or ()}
            return [statuses.get(name) for name in ("left", "right")] == ["running", "running"]

        await eventually("two nodes are recorded as running", is_recorded, within=PATIENCE_SECONDS)
    return run_id


async def kill_gateways_behind(system, watchers):
    for name in GATEWAYS:

        async def all_watch():
            return all(watcher.told for watcher in watchers)

        await eventually("all clients watch", all_watch, within=PATIENCE_SECONDS)
        system.fleet.kill(name)
        await system.fleet.start(name)


async def check(watcher, run_id, everything):
    kinds = [kind for kind, _, _ in watcher.told]
    assert kinds.count("run.snapshot") == 1, "a client that comes back goes on where it was"
    assert kinds[0] == "run.snapshot"
    assert kinds.count("run.finished") == 1
    assert kinds[-1] == "run.finished"
    assert watcher.ids == await everything.between(run_id, int(watcher.told[0][2]), watcher.ids[-1])


async def test_clients_whose_gateways_are_killed_miss_nothing_and_are_told_nothing_twice(system, measured):
    await system.fleet.run_only(*BACKEND, *GATEWAYS)
    workflow, everything = await save(system), Everything()
    urls = [system.fleet.url(name) for name in GATEWAYS]
    runs = reconnects = events = 0
    async with connect(system.settings.amqp_url, name="test", patience=5) as connection:
        await EventFeed.open(connection, everything.take, lambda: None, history=0)
        for runs in repeated(full=40.0, short=1):  # noqa: B007 -- the last one is told below
            run_id = await start_and_hold(system, workflow)
            watchers = [Watcher(urls[n % 2 :] + urls[: n % 2], run_id) for n in range(WATCHERS)]
            watching = asyncio.gather(*(watcher.until_end() for watcher in watchers))
            await kill_gateways_behind(system, watchers)
            await system.release_model_calls()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await watching
            for watcher in watchers:
                await check(watcher, run_id, everything)
            reconnects += sum(watcher.connections - 1 for watcher in watchers)
            events += sum(len(watcher.ids) for watcher in watchers)
    assert reconnects >= runs * WATCHERS
    measured(
        "19",
        f"{runs} runs with {WATCHERS} clients, {runs * len(GATEWAYS)} gateways killed",
        f"{reconnects} connections taken up again, {events} events: none missing, none twice, each end once",
    )


async def test_a_request_repeated_at_two_gateways_starts_one_run(system, measured):
    await system.fleet.run_only(*BACKEND, *GATEWAYS)
    workflow, key = await save(system), f"once-{uuid4()}"
    urls, killing = [system.fleet.url(name) for name in GATEWAYS], asyncio.Event()

    async def post(number):
        async with httpx2.AsyncClient(base_url=urls[number % 2], timeout=PATIENCE_SECONDS) as http:
            answer = await http.post(
                f"/api/workflows/{workflow}/execute", json={"options": ANEW}, headers={"Idempotency-Key": key, **KEY}
            )
        killing.set()
        return answer

    async def insist(number):
        while True:
            with suppress(httpx2.TransportError):
                answer = await post(number)
                if answer.status_code != 503:
                    return answer
            await asyncio.sleep(PAUSE_SECONDS)

    limit = asyncio.Semaphore(20)

    async def one_of_many(number):
        async with limit:
            return await insist(number)

    posting = asyncio.gather(*(one_of_many(number) for number in range(POSTS)))
    await killing.wait()
    system.fleet.kill(GATEWAYS[1])
    await system.fleet.start(GATEWAYS[1])
    answers = await posting
    assert {answer.status_code for answer in answers} == {202}
    (run_id,) = {UUID(answer.json()["runId"]) for answer in answers}
    async with client_of(system) as client:
        assert (await client.wait(run_id, timeout=PATIENCE_SECONDS)).status == "completed"
        assert [run.run_id for run in (await client.runs(workflow)).runs] == [run_id]
    measured("21", f"{POSTS} equal requests to two gateways, one killed meanwhile", "one run")
