"""Which dead letters are meant, and what is left to do for an attempt that died."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.domain.letters import (
    Step,
    Wanted,
    as_text,
    cursor_of,
    keys_of,
    next_step,
    place,
    plain,
    with_stand,
)
from gateway.letter_views import ReplayLetters
from shared.contracts.dead_letters import DeadLetter, DeadLetterCursor, DeadLetterFilter
from shared.contracts.errors import InvalidInputError, Problem
from shared.contracts.operations import AttemptStand
from shared.contracts.states import NodeStatus, RunStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)
RUN = UUID(int=1)
ERROR = Problem(code="worker_crashed", message="Out of Memory")


def letter(number: int = 1, queue: str = "dead.jobs.llm", seconds: float = 0, **fields) -> DeadLetter:
    told = {
        "run_id": RUN,
        "node_id": "ask",
        "node_type": "llm",
        "attempt": 2,
        "reason": "rejected",
        "code": "rejected",
        "bytes": 9,
    }
    died_at = AT + timedelta(seconds=seconds)
    return DeadLetter.model_validate({"id": f"{number:016x}", "queue": queue, "died_at": died_at, **told, **fields})


def stand(status: NodeStatus | None = NodeStatus.FAILED, run=RunStatus.RUNNING, latest=2, **fields) -> AttemptStand:
    about = {"run_id": RUN, "node_id": "ask", "attempt": 2, "run_status": run, "status": status, "latest": latest}
    return AttemptStand.model_validate({**about, **fields})


@pytest.mark.parametrize(
    ("criteria", "meant"),
    [
        ({}, True),
        ({"queue": "dead.jobs.llm", "node_type": "llm", "run_id": RUN, "code": "worker_crashed"}, True),
        ({"error": "out of MEMORY"}, True),
        ({"error": "worker_"}, True),
        ({"since": AT}, True),
        ({"queue": "dead.jobs.crop_image"}, False),
        ({"node_type": "crop_image"}, False),
        ({"run_id": UUID(int=2)}, False),
        ({"code": "rejected"}, False),
        ({"error": "disk"}, False),
        ({"since": AT + timedelta(seconds=1)}, False),
    ],
)
def test_a_letter_is_meant_if_it_meets_all_that_is_asked_for(criteria, meant):
    told = with_stand(letter(), {(RUN, "ask", 2): stand(error=ERROR)})
    assert Wanted(DeadLetterFilter(**criteria)).matches(told) is meant


def test_a_bundle_is_meant_by_each_run_that_it_tells_of():
    bundle = letter(run_id=None, run_ids=[RUN, UUID(int=2)], node_id=None, node_type=None, attempt=None)
    assert [Wanted(DeadLetterFilter(run_id=UUID(int=run))).matches(bundle) for run in (1, 2, 3)] == [True, True, False]


def test_a_letter_is_meant_by_its_id():
    assert Wanted(ids=frozenset({f"{1:016x}"})).matches(letter(1))
    assert not Wanted(ids=frozenset({f"{1:016x}"})).matches(letter(2))


def test_without_an_error_its_reason_is_looked_at():
    assert Wanted(DeadLetterFilter(error="reject")).matches(letter())


def test_the_cursor_leads_behind_the_letter_that_it_was_made_of():
    letters = sorted([letter(3, seconds=1), letter(2), letter(1), letter(4, queue="dead.a")], key=place)
    assert [item.id[-1] for item in letters] == ["4", "1", "2", "3"]
    cursor = DeadLetterCursor.from_text(cursor_of(letters[1]).to_text())
    assert [item.id[-1] for item in letters if Wanted(after=cursor).is_behind(item)] == ["2", "3"]


def test_only_jobs_that_can_be_read_are_asked_about_and_each_attempt_once():
    others = [letter(node_type=None), letter(run_id=None), letter(attempt=None)]
    assert [(key.node_id, key.attempt) for key in keys_of([letter(1), letter(2), *others])] == [("ask", 2)]


@pytest.mark.parametrize(
    ("now", "step"),
    [
        (stand(), Step.REJOIN),
        (stand(NodeStatus.RUNNING), Step.WAIT),
        (stand(NodeStatus.QUEUED), Step.WAIT),
        (stand(NodeStatus.SUCCESS), Step.NOTHING),
        (stand(latest=3), Step.NOTHING),
        (stand(NodeStatus.SUCCESS, RunStatus.COMPLETED), Step.NOTHING),
        (stand(NodeStatus.FAILED, RunStatus.FAILED), Step.RESUME),
        (stand(NodeStatus.CANCELLED, RunStatus.CANCELLED), Step.RESUME),
        (stand(NodeStatus.FAILED, RunStatus.FAILED, latest=3), Step.NOTHING),
        (stand(None, RunStatus.RUNNING, latest=0), Step.WAIT),
    ],
)
def test_what_is_left_to_do(now, step):
    assert next_step(now) is step


@pytest.mark.parametrize(("body", "text"), [(b'{"a": 1}', ('{"a": 1}', "utf-8")), (b"\xff", ("/w==", "base64"))])
def test_a_body_is_told_as_text_or_in_base64(body, text):
    assert as_text(body) == text


def test_headers_are_told_as_json_can_hold_them():
    headers = {"x-death": [{"time": AT, "count": 1, "queue": b"jobs"}], "none": None, "odd": object}
    assert plain(headers) == {
        "x-death": [{"time": AT.isoformat(), "count": 1, "queue": "jobs"}],
        "none": None,
        "odd": str(object),
    }


def test_a_cursor_of_another_list_is_refused():
    with pytest.raises(InvalidInputError, match="invalid_cursor"):
        ReplayLetters(all=True, cursor="abc").wanted()
