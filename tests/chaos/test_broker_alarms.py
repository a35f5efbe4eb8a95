"""The broker is out of memory, then out of disk: it reads nothing from publishers until that is over."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from tests.chaos.fleet import API_KEY, GATEWAY, TRACKER, WORKER
from tests.chaos.graphs import DIAMOND
from tests.chaos.scale import FACTOR, is_full
from tests.chaos.system import BACK_SECONDS, in_thread
from tests.chaos.waiting import eventually

from shared.contracts.commands import RunStart
from shared.contracts.errors import UnavailableError
from shared.messaging.publisher import PUBLISH_TIMEOUT

SERVICES = ("orchestrator", TRACKER, WORKER, GATEWAY)
ANSWER_SECONDS = 10.0
ALARM_SECONDS = 120.0 * FACTOR  # at full scale; else as long as it takes to see what must be seen
GRAPH = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "?"}}], "edges": []}
ALARMS: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "memory": (("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")),
    "disk": (("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "50MB")),
}


def api_of(system):
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return httpx2.AsyncClient(base_url=system.fleet.url(GATEWAY), headers=headers, timeout=30, trust_env=False)


async def is_refused(publisher):
    """Tell whether a publish is given up in time."""
    try:
        async with asyncio.timeout(PUBLISH_TIMEOUT + 1):
            await publisher.publish(RunStart(run_id=uuid4(), graph=DIAMOND))
    except UnavailableError as err:
        return err.code == "publish_failed"
    return False


async def answered(request):
    async with asyncio.timeout(ANSWER_SECONDS):
        return await request


async def check_that_nothing_can_be_started(system, api, path, name):
    """Return when publishers are held, and the gateway says so; it goes on to show what is there."""
    await eventually("the broker holds publishers", lambda: is_refused(system.publisher), within=30)
    refused = await answered(api.post(path, json={"triggerRunId": name}))
    assert (refused.status_code, refused.json()["code"]) == (503, "publish_failed"), refused.text
    assert refused.headers["retry-after"]
    assert (await answered(api.get("/api/workflows"))).status_code == 200
    levels = (await answered(api.get("/api/queues"))).json()
    assert "publishers_blocked" in {warning["code"] for warning in levels["warnings"]}, levels["warnings"]


@asynccontextmanager
async def alarmed(system, alarm):
    raise_alarm, clear_alarm = ALARMS[alarm]
    await in_thread(system.servers.control_broker, *raise_alarm)
    try:
        yield
    finally:
        await in_thread(system.servers.control_broker, *clear_alarm)


@pytest.mark.parametrize("alarm", ALARMS)
async def test_while_the_broker_holds_publishers_nothing_is_lost_and_then_all_goes_on(system, measured, alarm):
    await system.fleet.run_only(*SERVICES)
    load, name = system.load(width=10), f"{alarm}-{uuid4()}"
    async with api_of(system) as api, system.fleet.kept_alive(*SERVICES), load.applied():
        workflow = (await api.post("/api/workflows", json={"graph": GRAPH})).json()
        path = f"/api/workflows/{workflow['id']}/execute"
        await load.reach(10, within=60)
        async with alarmed(system, alarm):
            await check_that_nothing_can_be_started(system, api, path, name)
            await asyncio.sleep(ALARM_SECONDS if is_full() else 0)
        before = load.ended
        await load.reach(before + 10, within=BACK_SECONDS)
        run = await answered(api.post(path, json={"triggerRunId": name}))
        assert run.status_code == 202, run.text
        location = run.headers["location"]
        seconds = await eventually("the run has ended", lambda: is_completed(api, location), within=BACK_SECONDS)
        runs = (await api.get(f"/api/workflows/{workflow['id']}/runs")).json()["runs"]
        assert [item["runId"] for item in runs] == [run.json()["runId"]]
    await system.check_clean(load.accepted)
    restarts = {service: codes for service, codes in system.fleet.restarts.items() if codes}
    assert restarts == {}
    measured("10", f"{alarm} alarm, {len(load.accepted)} runs", f"503, and a run after it within {seconds:.1f} s")


async def is_completed(api, location):
    return (await api.get(location)).json()["status"] == "completed"
