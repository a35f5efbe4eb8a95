"""How the offline stand-in is told to misbehave, and the board that scripts and holds calls."""

import asyncio

import pytest

from llm_worker.offline_model.behaviours import (
    Answer,
    Behaviour,
    Drop,
    Fail,
    Garbage,
    Hold,
    Misfit,
    Refuse,
    Slow,
    Stall,
    Unfinished,
    cost_of,
)
from llm_worker.offline_model.board import CallBoard
from llm_worker.offline_model.model_name import parse_model_name
from shared.contracts.errors import InvalidInputError


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("offline", Answer()),
        ("offline:cost=0.25", Answer(cost=0.25)),
        ("offline:cost=3", Answer(cost=3)),
        ("offline:slow=250", Slow(delay_ms=250)),
        ("offline:429", Fail(status=429)),
        ("offline:429=7", Fail(status=429, retry_after=7)),
        ("offline:500", Fail(status=500)),
        ("offline:garbage", Garbage()),
        ("offline:drop", Drop()),
        ("offline:stall", Stall()),
        ("offline:hold", Hold()),
        ("offline:refuse", Refuse()),
        ("offline:pace=20", Answer(pace_ms=20)),
        ("offline:inside=429", Fail(status=429, place="body")),
        ("offline:midway=502", Fail(status=502, place="middle")),
        ("offline:gemini=503", Fail(status=503, shape="gemini")),
        ("offline:garble", Garbage(place="middle")),
        ("offline:silence", Stall(place="middle")),
        ("offline:unfinished", Unfinished()),
        ("offline:misfit", Misfit()),
    ],
)
def test_a_model_name_asks_for_a_behaviour(name: str, behaviour: Behaviour):
    assert parse_model_name(name) == behaviour


@pytest.mark.parametrize(
    "word",
    [
        *("", "fast", "slow", "slow=", "slow=x", "slow=-1", "slow=600001", "slow=1e3", "slow=" + "9" * 5000),
        *("cost", "cost=", "cost=-1", "cost=1e3", "cost=nan", "cost=1000001", "cost=0.", "cost=" + "1" * 5000),
        *(
            "200",
            "600",
            "0429",
            "429=",
            "429=x",
            "429=3601",
            "drop=1",
            "pace",
            "pace=x",
            "inside=200",
            "midway",
            "gemini=",
            "quota=1",
            "²",
            "STALL",
        ),
    ],
)
def test_an_unknown_behaviour_is_refused_and_the_known_ones_are_named(word: str):
    with pytest.raises(InvalidInputError, match="offline:slow=<milliseconds>") as caught:
        parse_model_name(f"offline:{word}")
    assert caught.value.code == "unknown_behaviour"


@pytest.mark.parametrize("name", ["gpt-5", "offline2", "Offline", "llava:7b"])
def test_another_model_is_not_found(name: str):
    with pytest.raises(InvalidInputError) as caught:
        parse_model_name(name)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("behaviour", [Answer(cost=0.5), Slow(delay_ms=1, cost=0.5), Hold(cost=0.5), Refuse(cost=0.5)])
def test_an_answer_of_any_kind_can_be_told_to_have_cost_something(behaviour: Behaviour):
    assert cost_of(behaviour) == 0.5


@pytest.mark.parametrize("behaviour", [Answer(), Fail(status=500), Drop()])
def test_otherwise_nothing_is_said_of_cost(behaviour: Behaviour):
    assert cost_of(behaviour) is None


async def test_scripted_behaviours_are_used_in_order_and_as_often_as_they_say():
    board = CallBoard()
    board.script([Drop(times=2), Stall()])
    assert board.counts.scripted == 3
    assert [type(board.begin_call()) for _ in range(4)] == [Drop, Drop, Stall, type(None)]
    assert board.counts.made == 4


async def test_a_cleared_script_is_forgotten():
    board = CallBoard()
    board.script([Drop()])
    board.clear_script()
    assert board.begin_call() is None


async def test_a_release_frees_those_who_are_held_and_not_those_who_come_later():
    board = CallBoard()
    first = asyncio.create_task(board.hold())
    await board.wait_until(lambda counts: counts.held == 1)
    assert board.release() == 1
    await first
    second = asyncio.create_task(board.hold())
    await board.wait_until(lambda counts: counts.held == 1)
    assert not second.done()
    board.release()
    await second


async def test_a_held_call_that_is_cancelled_is_not_held_any_more():
    board = CallBoard()
    held = asyncio.create_task(board.hold())
    await board.wait_until(lambda counts: counts.held == 1)
    held.cancel()
    await board.wait_until(lambda counts: counts.held == 0)
    assert board.release() == 0


async def test_closing_frees_those_who_watch():
    board = CallBoard()
    watcher = asyncio.create_task(board.wait_until(lambda counts: counts.held == 100))
    board.close()
    await watcher


async def test_the_board_counts_calls_under_way_and_the_most_that_there_were():
    board = CallBoard()
    for _ in range(3):
        board.begin_call()
    board.end_call()
    assert (board.counts.open, board.counts.peak, board.counts.made) == (2, 3, 3)
