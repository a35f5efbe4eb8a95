"""The local stack for real: PostgreSQL and RabbitMQ processes, killed and started again.

A start of RabbitMQ takes seconds, so a test sees as much as it can of each.
"""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import asyncpg
import psutil
import pytest
from pamqp.common import FieldValue

from shared.contracts.errors import UnavailableError
from shared.embedded.processes import RunningProcess
from shared.embedded.rabbitmq_container import RabbitMQContainer, docker_answers
from shared.embedded.stack import EmbeddedStack
from shared.embedded.state import StackFile, StackUrls

QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum"}
OWNER = """
import sys, pathlib
from shared.embedded.stack import EmbeddedStack
with EmbeddedStack(pathlib.Path(sys.argv[1])):
    print("started", flush=True)
    sys.stdin.read()
"""


async def leave_data(urls: StackUrls) -> None:
    """Leave a row, and a persistent message in a durable quorum queue."""
    database = await asyncpg.connect(urls.database_url)
    await database.execute("CREATE TABLE kept (text text)")
    await database.execute("INSERT INTO kept VALUES ('a row')")
    await database.close()
    await leave_message(str(urls.amqp_url))


async def leave_message(url: str) -> None:
    async with await aio_pika.connect(url) as broker:
        channel = await broker.channel()
        await channel.declare_queue("kept", durable=True, arguments=QUORUM)
        message = aio_pika.Message(b"a message", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key="kept")


async def read_data(urls: StackUrls) -> tuple[str, bytes]:
    """Return the row, and the message, which stays in the queue."""
    database = await asyncpg.connect(urls.database_url)
    row = await database.fetchval("SELECT text FROM kept")
    await database.close()
    return row, await read_message(str(urls.amqp_url))


async def read_message(url: str) -> bytes:
    async with await aio_pika.connect(url) as broker:
        channel = await broker.channel()
        queue = await channel.declare_queue("kept", durable=True, arguments=QUORUM)
        message = await queue.get()
        await message.nack(requeue=True)
        return message.body


def servers_of(home: Path) -> list[psutil.Process]:
    """Return all processes of the stack that runs in that folder."""
    record = StackFile(home).read()
    assert record is not None
    leaders = [psutil.Process(process.pid) for process in record.processes]
    return [*leaders, *(child for leader in leaders for child in leader.children(recursive=True))]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that have not ended."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def start_owner(home: Path) -> "subprocess.Popen[str]":
    """Start the stack in a process of its own, and return when it runs."""
    command = [sys.executable, "-c", OWNER, str(home)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "started\n"
    return owner


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass
class Neighbour:
    """A stack in another folder, which what happens to the stack of a test must not touch."""

    home: Path
    stack: EmbeddedStack
    urls: StackUrls


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbour]:
    home = tmp_path_factory.mktemp("a longer name, " + "x" * 120)
    stack = EmbeddedStack(home)
    yield Neighbour(home, stack, stack.start())
    stack.stop()


async def test_a_killed_owner_leaves_servers_that_the_next_start_stops_and_data_that_it_uses(
    tmp_path: Path, neighbour: Neighbour
):
    home = tmp_path / "weft"
    with start_owner(home) as owner:
        urls = EmbeddedStack.running(home)
        assert urls is not None
        await leave_data(urls)
        with pytest.raises(UnavailableError, match=f"stack_already_running.*{owner.pid}"):
            EmbeddedStack(home).start()
        leftovers = servers_of(home)
        assert {"beam.smp", "epmd", "postgres"} <= {process.name() for process in leftovers}
        owner.send_signal(signal.SIGKILL)
    assert len(running(leftovers)) >= 3
    assert EmbeddedStack.running(home) is None

    with EmbeddedStack(home) as urls:
        assert running(leftovers) == []
        assert await read_data(urls) == ("a row", b"a message")
    assert EmbeddedStack.running(neighbour.home) == neighbour.urls


async def test_the_broker_has_one_scheduler(neighbour: Neighbour):
    broker = next(process for process in servers_of(neighbour.home) if process.name() == "beam.smp")
    arguments = broker.cmdline()
    assert arguments[arguments.index("-S") + 1] == "1:1"


async def test_after_a_stop_nothing_runs_and_the_next_start_finds_the_data(neighbour: Neighbour):
    await leave_data(neighbour.urls)
    servers = servers_of(neighbour.home)
    neighbour.stack.stop()
    assert running(servers) == []
    assert EmbeddedStack.running(neighbour.home) is None
    assert not (neighbour.home / "stack.json").exists()

    with EmbeddedStack(neighbour.home) as urls:
        assert await read_data(urls) == ("a row", b"a message")
        assert urls.assets_url == (neighbour.home / "assets").as_uri()


async def test_the_addresses_and_passwords_are_for_the_owner_only(tmp_path: Path):
    with EmbeddedStack(tmp_path, rabbitmq=False) as urls:
        assert urls.amqp_url is None
        published = json.loads((tmp_path / "stack.json").read_text())
        assert published["database_url"] == urls.database_url
        for name in ("stack.json", "postgres/password"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(urls.database_url, password="wrong")


async def test_servers_whose_folder_was_removed_are_stopped_by_the_next_start(tmp_path: Path):
    home = tmp_path / "weft"
    stack = EmbeddedStack(home, rabbitmq=False)
    stack.start()
    servers = servers_of(home)
    home.rename(tmp_path / "gone")
    with EmbeddedStack(home, rabbitmq=False):
        assert running(servers) == []
    stack.stop()


async def test_a_lock_file_of_a_dead_server_is_no_obstacle(tmp_path: Path):
    with EmbeddedStack(tmp_path, rabbitmq=False):
        lock = (tmp_path / "postgres" / "data" / "postmaster.pid").read_text()
    here = str(RunningProcess.this().pid)
    (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(here + lock[lock.index("\n") :])
    with EmbeddedStack(tmp_path, rabbitmq=False) as urls:
        assert urls.database_url is not None


async def test_a_failed_start_says_why_and_leaves_nothing_running(tmp_path: Path):
    with EmbeddedStack(tmp_path, rabbitmq=False):
        pass
    (tmp_path / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(UnavailableError, match=r"postgres_start_failed.*no_such_setting.*postgres\.log"):
        EmbeddedStack(tmp_path).start()
    assert not (tmp_path / "stack.json").exists()


async def test_rabbitmq_in_a_container_keeps_its_data(tmp_path: Path):
    if not docker_answers():
        pytest.skip("no Docker engine answers")
    cancelled = threading.Event()
    killed, container = RabbitMQContainer(tmp_path), RabbitMQContainer(tmp_path)
    try:
        await leave_message(await asyncio.to_thread(killed.start, StackFile(tmp_path), cancelled))
        url = await asyncio.to_thread(container.start, StackFile(tmp_path), cancelled)
        assert await read_message(url) == b"a message"
    finally:
        container.stop()
        docker("volume", "rm", container.container)
    assert docker("ps", "--all", "--quiet", "--filter", f"name={container.container}") == ""
