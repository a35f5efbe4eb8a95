"""Connections to the broker that come back by themselves, and say plainly why they cannot be made."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType

import aio_pika
import aiormq
from aio_pika.abc import AbstractRobustConnection
from aiormq.exceptions import AMQPConnectionError, AMQPError, AuthenticationError, ProbableAuthenticationError
from structlog import get_logger
from yarl import URL

from shared.addresses import without_password
from shared.contracts.errors import UnavailableError, unavailable

RECONNECT_SECONDS = 1.0
RETRY_SECONDS = 0.2
CONNECT_TIMEOUT = 10.0  # seconds
CLOSE_TIMEOUT = 5.0  # seconds; a broker that is away must not keep a service from ending
_REFUSED_FOR_GOOD = (AuthenticationError, ProbableAuthenticationError)

log = get_logger(__name__)


@asynccontextmanager
async def connect(url: str, *, name: str, patience: float) -> AsyncGenerator[AbstractRobustConnection]:
    """Yield a connection that reconnects by itself; `name` is what operators see on the broker.

    A broker that is still starting is waited for, `patience` seconds at most. Raises UnavailableError
    `broker_unreachable` after that, `broker_refused` at once where the user or virtual host is wrong.
    """
    connection = await _connect_patiently(url, name, patience)
    try:
        yield connection
    finally:
        await _close(connection)


@asynccontextmanager
async def brief_channel(connection: AbstractRobustConnection) -> AsyncGenerator[aiormq.abc.AbstractChannel]:
    """Yield a channel for a question or two, also for one to which the broker answers by closing it.

    Not one of aio-pika's: for each of them its connection keeps 4 KB to its own end, which adds up where somebody asks
    every few seconds.
    """
    with silence_as_error():
        await connection.ready()
        assert connection.transport
        channel = await connection.transport.connection.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            await channel.close()


class _SilenceAsError:
    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task and not task.cancelling():
            raise ConnectionError("the broker has fallen silent") from error


_SILENCE_AS_ERROR = _SilenceAsError()


def silence_as_error() -> _SilenceAsError:
    """Return a context for what waits for the broker, in which a connection that falls silent raises ConnectionError.

    aiormq gives up a connection that has not even had heartbeats for a while, and cancels who waits for its answers: as
    if their tasks were asked to end, which nothing survives that loops or retries.
    """
    return _SILENCE_AS_ERROR


def server_version(connection: AbstractRobustConnection) -> str:
    """Return the version of the broker, as it told when the connection was made."""
    assert connection.transport
    return str(connection.transport.connection.server_properties.get("version", "unknown"))


async def _close(connection: AbstractRobustConnection) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connection.close()
    except (AMQPError, OSError, RuntimeError) as err:  # TimeoutError is an OSError
        log.info("connection not closed in order", reason=str(err) or type(err).__name__)


async def _connect_patiently(url: str, name: str, patience: float) -> AbstractRobustConnection:
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await _connect(url, name)
        except _REFUSED_FOR_GOOD as err:
            raise _refused(url) from err
        except (AMQPConnectionError, OSError, TimeoutError) as err:
            if asyncio.get_running_loop().time() > deadline:
                raise _unreachable(url, err) from err
            await asyncio.sleep(RETRY_SECONDS)


async def _connect(url: str, name: str) -> AbstractRobustConnection:
    connection = aio_pika.RobustConnection(
        URL(url), client_properties={"connection_name": name}, reconnect_interval=RECONNECT_SECONDS
    )
    try:
        await connection.connect(timeout=CONNECT_TIMEOUT)
    except BaseException:
        # Else it would close itself when it is collected, from wherever that happens.
        await connection.close()
        raise
    return connection


def _refused(url: str) -> UnavailableError:
    return unavailable(
        "broker_refused",
        f"RabbitMQ at {without_password(url)} refuses the user, the password or the virtual host",
        where="WEFT_AMQP_URL",
        fix="correct the user, the password and the virtual host in WEFT_AMQP_URL",
    )


def _unreachable(url: str, err: Exception) -> UnavailableError:
    return unavailable(
        "broker_unreachable",
        f"no RabbitMQ answers at {without_password(url)}: {err or type(err).__name__}",
        where="WEFT_AMQP_URL",
        fix="start it, or correct WEFT_AMQP_URL; without the variable, `weft dev` starts one",
    )
