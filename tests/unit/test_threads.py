"""A thread that nobody can stop is waited for."""

import asyncio
import threading

import pytest

from shared.threads import run_in_thread


async def test_the_result_and_the_error_of_the_function_are_passed_on():
    def divide(one, other):
        return one / other

    assert await run_in_thread(divide, 6, other=3) == 2
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(divide, 1, 0)


@pytest.mark.parametrize("error", [None, ValueError("nobody hears of it")])
async def test_a_cancelled_task_ends_when_its_thread_does(error):
    begun, finish = threading.Event(), threading.Event()

    def work():
        begun.set()
        finish.wait(10)
        if error:
            raise error

    task = asyncio.create_task(run_in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
