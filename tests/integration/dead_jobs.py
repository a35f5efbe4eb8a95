"""Jobs that die on the real broker: a worker that gives each of them up, and one that does them."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import aio_pika
from tests.integration.gateway_client import keep, until

from shared.contracts.commands import read_job
from shared.contracts.node_types import REGISTRY
from shared.contracts.run_options import Lane
from shared.contracts.values import TextValue
from shared.messaging.connection import connect
from shared.worker import Succeeded
from shared.worker.service import worker_service

LLM = REGISTRY["llm"]
DEAD = "/api/dead-letters"
QUESTION = {"nodes": [{"id": "ask", "type": "llm", "params": {"userMessage": "?"}}], "edges": []}


@asynccontextmanager
async def rejecting_worker(stack, *, but_for=()):
    """A worker of `llm` that cannot read what it is given: each job goes to the suspects, and from there it is dead.

    Jobs of some nodes it keeps in hand.
    """

    async def give_up(job):
        if not but_for or read_job(job.body).node_id not in but_for:
            await job.reject(requeue=False)

    async with connect(stack.amqp_url, name="rejecting worker", patience=5) as connection:
        channel = await connection.channel()
        for lane in Lane:
            queue = await channel.declare_queue(LLM.job_queue(lane), passive=True)
            await queue.consume(give_up)
        yield


@asynccontextmanager
async def obeying_worker(stack, done=None):
    """A worker of `llm` of the real kit; what it has done is noted: run, node, question."""

    async def answer(job):
        if done is not None:
            done.append((str(job.command.run_id), job.command.node_id, job.params.user_message))
        return Succeeded(TextValue(text="done"))

    async with worker_service(stack, LLM, answer, 8):
        yield


async def start_runs(client, count, graph=QUESTION):
    """Start runs of a graph, and return their ids."""
    workflow = await keep(client, graph, id=str(uuid4()))
    path = f"/api/workflows/{workflow['id']}/execute"
    answers = await asyncio.gather(*(client.post(path, json={"options": {"useCache": False}}) for _ in range(count)))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["runId"] for answer in answers]


async def dead_letters(client, count, **query):
    """Return the dead letters once there are so many, each with what the tracker knows of its run."""
    found = []

    async def are_there():
        page = (await client.get(DEAD, params={"limit": 100, **query})).json()
        found[:] = page["letters"]
        return page["total"] == count and all("error" in letter for letter in found if "attempt" in letter)

    await until(are_there)
    return found


async def ended(client, run_id):
    """Return a run once it has ended."""
    run = {}

    async def has_ended():
        run.update((await client.get(f"/api/workflows/runs/{run_id}")).json())
        return "finishedAt" in run

    await until(has_ended)
    return run


async def die_again(stack, letters):
    """Put letters where they were, as if their removal had been lost."""
    connection = await aio_pika.connect(stack.amqp_url)
    async with connection, connection.channel() as channel:
        for letter in letters:
            told: list[Any] = letter["headers"]["x-death"]
            deaths: Any = [{**death, "time": datetime.fromisoformat(death["time"])} for death in told]
            body, message_id = letter["body"].encode(), letter["messageId"]
            message = aio_pika.Message(body, message_id=message_id, headers={"x-death": deaths})
            await channel.default_exchange.publish(message, letter["queue"])


async def treat(client, verb, **selection):
    answer = await client.post(f"{DEAD}/{verb}", json=selection)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def outcomes(client, verb, **selection):
    return [result["outcome"] for result in (await treat(client, verb, **selection))["results"]]
