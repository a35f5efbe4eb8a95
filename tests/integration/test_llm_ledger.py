"""The ledger on a real PostgreSQL: every call has a row before it is made, and nothing that is known is asked again."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from tests.integration.gateway_fixtures import environment
from tests.integration.ledger import (
    PATIENCE,
    HeldModel,
    Model,
    call,
    connected,
    fetch,
    provider,
    reply,
    rows,
    statuses,
    until,
    worker,
)

from llm_worker.domain.breaker import FAILURES
from llm_worker.domain.model import ModelError, ModelErrorCode
from llm_worker.ledger import Ledger
from llm_worker.opening import ROLE
from llm_worker.presence import Presence
from shared.contracts.events import Usage
from shared.database import connect_database
from shared.migrations import migrate

pytestmark = pytest.mark.usefixtures("empty_queues", "empty_tables")

LIMITED = ModelError(ModelErrorCode.RATE_LIMITED, "slow down", retryable=True, retry_after=7.0)


async def failure(calls, *arguments):
    with pytest.raises(ModelError) as raised:
        await calls.complete(*arguments)
    return raised.value


async def test_a_call_has_a_row_while_it_is_made_and_its_reply_is_in_it_when_it_is_told(stack):
    model, asked = HeldModel(reply(input_tokens=10, cached_tokens=4, output_tokens=5, cost=0.1)), call()
    async with worker(stack) as calls:
        completing = asyncio.create_task(calls.complete(asked, model))
        await model.wait_asked()
        during = await rows(stack, "status", "provider", "model", "run_id", "number", "reply", "cost")
        model.released.set()
        assert await completing == model.answers[0]
        after = await rows(stack, "status", "input_tokens", "cached_tokens", "output_tokens", "cost", "price", "reply")
    assert during == [
        {
            "status": "started",
            "provider": "offline",
            "model": "small",
            "run_id": asked.run_id,
            "number": 1,
            "reply": None,
            "cost": None,
        }
    ]
    assert after[0].pop("reply")
    assert json.loads(after[0].pop("price")) == {"source": "provider"}
    assert after == [
        {"status": "succeeded", "input_tokens": 10, "cached_tokens": 4, "output_tokens": 5, "cost": Decimal("0.1")}
    ]


async def test_a_reply_that_is_known_is_told_again_by_any_worker_and_nobody_is_asked(stack):
    first, second, asked = Model(reply("one")), Model(reply("two")), call()
    async with worker(stack) as calls:
        await calls.complete(asked, first)
    async with worker(stack) as calls:
        assert (await calls.complete(asked, second)).text == "one"
    assert (first.asked, second.asked, await statuses(stack)) == (1, 0, ["succeeded"])


async def test_a_failure_that_is_known_is_told_again_as_it_was(stack):
    refused = ModelError(
        ModelErrorCode.REFUSED, "no", retryable=False, usage=Usage(model="small", output_tokens=3, cost=0.5)
    )
    first, second, asked = Model(refused), Model(), call()
    async with worker(stack) as calls:
        await failure(calls, asked, first)
        again = await failure(calls, asked, second)
    assert (again.code, again.message, again.retryable, again.usage) == ("llm_refused", "no", False, refused.usage)
    assert second.asked == 0
    assert await rows(stack, "status", "error_code", "cost") == [
        {"status": "failed", "error_code": "llm_refused", "cost": Decimal("0.5")}
    ]


async def test_a_call_that_may_have_been_carried_out_without_a_reply_is_unknown(stack):
    broken = ModelError(ModelErrorCode.INCOMPLETE, "the line broke", retryable=True, ambiguous=True)
    async with worker(stack) as calls:
        assert (await failure(calls, call(), Model(broken))).ambiguous
    assert await rows(stack, "status", "error_code", "cost") == [
        {"status": "unknown", "error_code": "llm_incomplete", "cost": None}
    ]


async def test_a_call_that_nobody_waits_for_any_more_is_unknown(stack):
    model = HeldModel()
    async with worker(stack) as calls:
        completing = asyncio.create_task(calls.complete(call(), model))
        await model.wait_asked()
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing
    assert await rows(stack, "status", "error_code") == [{"status": "unknown", "error_code": "cancelled"}]


async def test_two_workers_with_the_same_call_ask_once_and_both_get_the_reply(stack):
    model, other, asked = HeldModel(reply("the one")), Model(reply("another")), call()
    async with worker(stack) as calls, worker(stack) as calls_of_other:
        first = asyncio.create_task(calls.complete(asked, model))
        await model.wait_asked()
        second = asyncio.create_task(calls_of_other.complete(asked, other))
        await until(lambda: _both_have_permits(stack))
        model.released.set()
        assert (await first).text == (await second).text == "the one"
    assert other.asked == 0
    assert await statuses(stack) == ["succeeded"]


async def _both_have_permits(stack):
    return len(await fetch(stack, "SELECT FROM llm_worker.permit")) == 2


async def test_the_calls_of_one_attempt_and_of_its_neighbours_are_told_apart(stack):
    model, run_id = Model(reply("1"), reply("2"), reply("3")), uuid4()
    async with worker(stack) as calls:
        asked = [call(run_id=run_id), call(run_id=run_id, number=2), call()]
        assert [(await calls.complete(one, model)).text for one in asked] == ["1", "2", "3"]


@asynccontextmanager
async def hanging_caller(stack, asked, **limits):
    """A process with a call under way that is never answered."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.hanging_caller", str(asked.run_id), json.dumps(limits)),
        env={**os.environ, **environment(stack)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"asked\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_what_a_dead_process_had_under_way_is_unknown_and_made_again_in_a_row_of_its_own(stack):
    asked = call()
    async with hanging_caller(stack, asked) as process, worker(stack) as calls:
        assert await statuses(stack) == ["started"]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert (await calls.complete(asked, Model(reply("again")))).text == "again"
    assert await rows(stack, "status", "error_code") == [
        {"status": "unknown", "error_code": None},
        {"status": "succeeded", "error_code": None},
    ]


async def test_what_a_dead_process_had_under_way_becomes_unknown_also_if_nobody_asks_again(stack):
    async with hanging_caller(stack, call()):
        pass
    async with worker(stack):
        await until(lambda: _is_unknown(stack))


async def _is_unknown(stack):
    return await statuses(stack) == ["unknown"]


async def test_the_permits_of_a_dead_process_are_taken_back(stack):
    alone = provider(concurrency=1)
    async with hanging_caller(stack, call(alone), concurrency=1) as process, worker(stack, alone) as calls:
        completing = asyncio.create_task(calls.complete(call(alone), Model(reply("at last"))))
        process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            assert (await completing).text == "at last"


async def test_a_job_that_is_stopped_before_its_call_leaves_no_row(stack):
    model = Model()
    async with worker(stack) as calls, connected(stack) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE llm_worker.call IN EXCLUSIVE MODE")
        completing = asyncio.create_task(calls.complete(call(), model))
        await until(lambda: _waits_for_lock(stack))
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing
        await transaction.rollback()
    assert (model.asked, await rows(stack, "status")) == (0, [])
    assert await fetch(stack, "SELECT * FROM llm_worker.permit") == []


async def _waits_for_lock(stack):
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'llm_worker.call'::regclass"
    return bool(await fetch(stack, waiting))


async def test_a_reply_outlives_the_loss_of_all_connections_to_the_database(stack):
    async def answer():
        await fetch(
            stack, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weft llm_worker'"
        )
        return reply("kept")

    async with worker(stack) as calls:
        assert (await calls.complete(call(), answer)).text == "kept"
    assert await statuses(stack) == ["succeeded"]


async def test_a_circuit_that_is_open_lets_no_call_through_and_leaves_no_row(stack):
    away = ModelError(ModelErrorCode.UNAVAILABLE, "no answer", retryable=True)
    model = Model(away)
    async with worker(stack) as calls:
        codes = [(await failure(calls, call(), model)).code for _ in range(FAILURES + 1)]
        opened = await failure(calls, call(), model)
    assert codes == [ModelErrorCode.UNAVAILABLE] * FAILURES + [ModelErrorCode.CIRCUIT_OPEN]
    assert opened.retryable
    assert opened.retry_after
    assert (model.asked, await statuses(stack)) == (FAILURES, ["failed"] * FAILURES)


async def test_an_answer_is_told_again_while_the_circuit_is_open(stack):
    away, asked = ModelError(ModelErrorCode.TIMEOUT, "late", retryable=True), call()
    async with worker(stack) as calls:
        await calls.complete(asked, Model(reply("known")))
        for _ in range(FAILURES):
            await failure(calls, call(), Model(away))
        assert (await calls.complete(asked, Model(away))).text == "known"


async def test_old_replies_and_older_rows_are_forgotten(stack):
    async with worker(stack) as calls:
        for _ in range(3):
            await calls.complete(call(), Model())
    await fetch(
        stack,
        """
        UPDATE llm_worker.call SET started_at = now() - (numbered.place - 1) * interval '3 days'
        FROM (SELECT call_id, row_number() OVER (ORDER BY started_at DESC) AS place FROM llm_worker.call) AS numbered
        WHERE numbered.call_id = call.call_id
        """,
    )
    async with connect_database(
        stack.database_url, name="test", patience=5, schema="llm_worker", role=ROLE
    ) as database:
        presence = await Presence.of_new_worker(database)
        ledger = Ledger(database, presence, worker_name="test")
        assert not await ledger.prune(replies=timedelta(days=1), rows=timedelta(days=5))
    assert await rows(stack, "reply IS NULL AS emptied") == [{"emptied": True}, {"emptied": False}]


async def test_the_worker_may_touch_nothing_but_its_own_schema(stack):
    async with connect_database(
        stack.database_url, name="test", patience=5, schema="llm_worker", role=ROLE
    ) as database:
        for forbidden in (
            "SELECT FROM orchestrator.journal",
            "DELETE FROM run_tracker.workflow_run",
            "DROP TABLE llm_worker.call",
            "CREATE TABLE llm_worker.own ()",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.transaction() as connection:
                    await connection.execute(forbidden)
        async with database.transaction() as connection:
            assert await connection.fetchval("SELECT count(*) FROM llm_worker.call") == 0


@pytest.fixture
async def modest(stack):
    """The settings of a database whose user may make no roles."""
    name, url = f"modest_{uuid4().hex}", make_url(stack.database_url)
    async with connected(stack) as connection:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'modest'")
        await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        own = url.set(username=name, password="modest", database=name).render_as_string(hide_password=False)
        yield stack.model_copy(update={"database_url": own})
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"DROP ROLE {name}")


async def test_a_user_who_may_make_no_roles_works_with_rights_of_his_own(modest):
    await asyncio.to_thread(migrate, modest.database_url, patience=5)
    async with worker(modest) as calls:
        assert (await calls.complete(call(), Model(reply("all the same")))).text == "all the same"
    async with (
        connect_database(modest.database_url, name="test", patience=5, schema="llm_worker", role=ROLE) as database,
        database.transaction() as connection,
    ):
        assert await connection.fetchval("SELECT current_user = session_user")
