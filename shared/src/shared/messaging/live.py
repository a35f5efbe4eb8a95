"""All events as they happen, for as long as somebody listens: from a queue that goes with its listener."""

from collections.abc import Callable
from uuid import UUID, uuid4

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustChannel
from aio_pika.exceptions import ChannelClosed
from structlog import get_logger

from shared.contracts.errors import unavailable
from shared.topology import EVENTS, PROGRESS

# What the broker keeps for a listener that does not read; what it drops must be made good by asking.
MAX_QUEUE = 100_000

log = get_logger(__name__)


async def listen_to_events(
    channel: AbstractRobustChannel,
    *,
    listener: str,
    receive: Callable[[UUID, bytes], None],
    on_gap: Callable[[], None],
) -> None:
    """Call `receive` with run id and body of each event, from now on, also after the connection was lost.

    `on_gap` is called when it came back: events may be missing. Raises UnavailableError `topology_missing`.
    """

    async def consume(incoming: AbstractIncomingMessage) -> None:
        try:
            run_id = UUID(incoming.correlation_id or "")
        except ValueError:
            log.warning("an event without a run", message_id=incoming.message_id)
            return
        receive(run_id, incoming.body)

    def tell_of_gap(*_: object) -> None:
        on_gap()

    queue = await _declare_queue(channel, f"{listener}.live.{uuid4()}")
    await queue.consume(consume, no_ack=True)
    channel.reopen_callbacks.add(tell_of_gap)


async def _declare_queue(channel: AbstractRobustChannel, name: str) -> AbstractQueue:
    arguments = {"x-max-length": MAX_QUEUE}
    queue = await channel.declare_queue(name, exclusive=True, auto_delete=True, arguments=arguments)
    try:
        await queue.bind(EVENTS, "run.#")
        await queue.bind(EVENTS, "node.#")
        await queue.bind(PROGRESS, "node.#")
    except ChannelClosed as err:
        raise unavailable(
            "topology_missing",
            f"the broker has no exchange {EVENTS!r} or {PROGRESS!r}",
            fix="declare the topology: weft setup",
        ) from err
    return queue
