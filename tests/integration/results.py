"""What workers tell, taken from the queue of results one by one, however many of them come in a message."""

from collections import deque
from weakref import WeakKeyDictionary

from tests.integration.test_messaging import next_message

from shared.contracts.bundles import telling
from shared.contracts.events import read_result
from shared.topology import RESULTS_QUEUE

_read = telling(read_result)
_taken = WeakKeyDictionary()


async def next_result(channel):
    """Wait for a result, take it and return it; those that came with it are next on the same channel."""
    taken = _taken.setdefault(channel, deque())
    if not taken:
        taken.extend(_read((await next_message(channel, RESULTS_QUEUE)).body).messages)
    return taken.popleft()
