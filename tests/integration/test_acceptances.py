"""Runs that were accepted or refused are forgotten after a day, a batch at a time."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from gateway import acceptances as module
from gateway.acceptances import KEPT, Acceptances
from shared.contracts.queries import RunView
from shared.contracts.states import RunStatus


@pytest.fixture
def acceptances(database):
    return Acceptances(database)


def queued():
    return RunView(run_id=uuid4(), status=RunStatus.QUEUED, created_at=datetime.now(UTC))


async def make_old(database):
    """Let all that is remembered be older than it is kept, and let each run have been refused, too."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO gateway.refused_run (run_id, problem, refused_at)"
            """ SELECT run_id, '{"code": "c", "message": "m"}', now() FROM gateway.accepted_run"""
        )
        for table in ("accepted_run", "refused_run"):
            await connection.execute(f"UPDATE gateway.{table} SET created_at = now() - $1::interval * 2", KEPT)


async def test_what_is_old_is_forgotten_a_batch_at_a_time(acceptances, database, monkeypatch):
    monkeypatch.setattr(module, "PRUNED_AT_ONCE", 3)
    old, kept, statements = [queued() for _ in range(7)], queued(), []
    await acceptances.note(old)
    await make_old(database)
    await acceptances.note([kept])
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM gateway.refused_run WHERE run_id = $1", old[0].run_id)
    prune_batch = acceptances._prune_batch

    async def counted(statement):
        statements.append(await prune_batch(statement))
        return statements[-1]

    monkeypatch.setattr(acceptances, "_prune_batch", counted)
    assert await acceptances.prune() == 13
    assert statements == [3, 3, 1, 3, 3, 0]
    assert [run for run in (kept, *old) if await acceptances.find(run.run_id)] == [kept]
    assert await acceptances.prune() == 0
