"""What RabbitMQ's management API tells beyond AMQP: messages in hand, rates, arguments, bindings, alarms.

It needs the extra `management` of the package. The answers of 3.10 and 4.x are read alike; fields that are missing stay
unknown. See https://rawcdn.githack.com/rabbitmq/rabbitmq-server/v3.10.x/deps/rabbitmq_management/priv/www/api/index.html
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError
from yarl import URL

from shared.addresses import without_password
from shared.contracts.errors import unavailable

PATIENCE = 3.0  # seconds
PAGE = 500  # queues; the API has no larger one
_RATES = {"msg_rates_age": 60, "msg_rates_incr": 10}  # seconds

T = TypeVar("T")


class Rate(BaseModel):
    """How often something happened per second."""

    rate: float | None = None


class MessageStats(BaseModel):
    """What happened to the messages of a queue."""

    publish_details: Rate = Rate()
    deliver_get_details: Rate = Rate()
    ack_details: Rate = Rate()


class ManagedQueue(BaseModel):
    """A queue as the broker describes it."""

    name: str
    exclusive: bool = False
    auto_delete: bool = False
    arguments: dict[str, Any] = {}
    messages_unacknowledged: int | None = None
    message_stats: MessageStats = MessageStats()


class ManagedBinding(BaseModel):
    """A binding of a queue, or of an exchange, to an exchange."""

    source: str
    destination: str
    destination_type: str
    routing_key: str

    @property
    def is_of_queue(self) -> bool:
        """Whether it is a queue that is bound."""
        return self.destination_type == "queue"


class ManagedNode(BaseModel):
    """A node of the broker; while it has an alarm, nobody may publish. Of its disk, bytes."""

    name: str
    mem_alarm: bool = False
    disk_free_alarm: bool = False
    disk_free: int | None = None
    disk_free_limit: int | None = None


class _Page(BaseModel):
    items: list[ManagedQueue]
    page_count: int = 1


_BINDINGS = TypeAdapter(list[ManagedBinding])
_NODES = TypeAdapter(list[ManagedNode])
_PAGE = TypeAdapter(_Page)


@dataclass(frozen=True, slots=True)
class ManagedNodes:
    """The nodes of the broker, and its clock, as HTTP tells it."""

    nodes: tuple[ManagedNode, ...]
    date: str | None


@dataclass(frozen=True, slots=True)
class Managed:
    """All that was asked of the management API at once."""

    queues: tuple[ManagedQueue, ...]
    bindings: tuple[ManagedBinding, ...]
    nodes: tuple[ManagedNode, ...]


class Management:
    """Asks the management API about the virtual host of an AMQP address."""

    def __init__(self, http: httpx2.AsyncClient, virtual_host: str) -> None:
        self._http = http
        self._host = virtual_host

    async def read(self) -> Managed:
        """Return what the broker tells; raise UnavailableError `management_unavailable`."""
        queues = await self._queues()
        bindings = await self._get(f"/api/bindings/{self._host}", _BINDINGS)
        return Managed(tuple(queues), tuple(bindings), (await self.nodes()).nodes)

    async def nodes(self) -> ManagedNodes:
        """Return the broker's nodes; raise as `read` does."""
        nodes, headers = await self._answer("/api/nodes", _NODES)
        return ManagedNodes(tuple(nodes), headers.get("date"))

    async def _queues(self) -> list[ManagedQueue]:
        found, number, pages = list[ManagedQueue](), 1, 1
        while number <= pages:
            page = await self._get(f"/api/queues/{self._host}", _PAGE, page=number, page_size=PAGE, **_RATES)
            found, number, pages = found + page.items, number + 1, page.page_count
        return found

    async def _get(self, path: str, form: TypeAdapter[T], **params: int) -> T:
        return (await self._answer(path, form, **params))[0]

    async def _answer(self, path: str, form: TypeAdapter[T], **params: int) -> tuple[T, httpx2.Headers]:
        try:
            response = await self._http.get(path, params=params)
            return form.validate_json(response.raise_for_status().content), response.headers
        except (httpx2.HTTPError, ValidationError) as err:
            raise unavailable(
                "management_unavailable",
                f"the broker's management API cannot be read: {type(err).__name__}",
                where=without_password(str(self._http.base_url)),
                fix="enable the plugin rabbitmq_management, give the user the tag monitoring, correct"
                " WEFT_MANAGEMENT_URL",
            ) from err


@asynccontextmanager
async def open_management(url: str, amqp_url: str) -> AsyncGenerator[Management]:
    """Yield what asks the API at an address, by default with the user of the AMQP address; nothing is asked yet."""
    address, broker = URL(url), URL(amqp_url)
    user, password = address.user or broker.user or "guest", address.password or broker.password or "guest"
    base = str(address.with_user(None))
    async with httpx2.AsyncClient(base_url=base, auth=(user, password), timeout=PATIENCE, trust_env=False) as http:
        yield Management(http, _virtual_host(broker))


def _virtual_host(broker: URL) -> str:
    """Return the virtual host of an AMQP address as a part of a path: no path, and `/` alone, mean the default one."""
    name = broker.raw_path.removeprefix("/")
    return name or "%2F"
