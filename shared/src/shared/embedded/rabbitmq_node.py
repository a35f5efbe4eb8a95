"""A private RabbitMQ node of the installed `rabbitmq-server`, 3.10 or newer.

Everything of it is under one folder and on the loopback interface. Erlang's port mapper is ours as well, in the
foreground and on a port of its own: so the node's name can stay the same (it names the data) however many stacks run,
and nothing stays behind after a stop.
"""

import asyncio
import os
import threading
from pathlib import Path

import aiormq
from aiormq.exceptions import AMQPError, ProbableAuthenticationError

from shared.contracts.errors import UnavailableError, unavailable
from shared.embedded.processes import Server, accepts_connections, clean_environment, free_port
from shared.embedded.rabbitmq_install import RabbitMQ
from shared.embedded.secrets_file import read_or_create, write_private
from shared.embedded.state import StackFile

USER = "weft"
NODE = "weft@localhost"
START_SECONDS = 120.0
OLDEST = (3, 10)  # the first with a message TTL on quorum queues
# One scheduler: enough for more than one orchestrator can do, and several wake each other for each message.
ERLANG_ARGS = "+S 1:1"
_ANSWER_SECONDS = 10.0


class RabbitMQNode:
    """One RabbitMQ node in one folder; the data stay from one start to the next."""

    def __init__(self, folder: Path, installed: RabbitMQ) -> None:
        self.folder = folder
        self._installed = installed
        self._log = folder / "rabbitmq.log"
        self._servers: list[Server] = []
        self.more_urls: dict[str, str] = {}

    def start(self, file: StackFile, cancelled: threading.Event) -> str:
        """Start the node and return its address, once it has answered an AMQP client.

        Raises UnavailableError `rabbitmq_start_failed` or `epmd_start_failed`, with the cause and the log file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        url = self._configure(port := free_port())
        env = self._environment(epmd_port := free_port())
        self._start_epmd(epmd_port, env, file, cancelled)
        node = Server.spawn("rabbitmq", [self._installed.server], log=self._log, record=file.add_process, env=env)
        self._servers.append(node)
        node.wait_until(lambda: accepts_connections(port) and answers(url), timeout=START_SECONDS, cancelled=cancelled)
        return url

    def stop(self) -> None:
        """Stop the node in order, then the port mapper."""
        while self._servers:
            self._servers.pop().stop()

    def _start_epmd(self, port: int, env: dict[str, str], file: StackFile, cancelled: threading.Event) -> None:
        command = [self._installed.epmd, "-address", "127.0.0.1", "-port", str(port)]
        epmd = Server.spawn("epmd", command, log=self.folder / "epmd.log", record=file.add_process, env=env)
        self._servers.append(epmd)
        epmd.wait_until(lambda: accepts_connections(port), timeout=START_SECONDS, cancelled=cancelled)

    def _configure(self, port: int) -> str:
        """Write the configuration, and return the address that it makes."""
        password = read_or_create(self.folder / "password")
        management_port = free_port()
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(management_port),
            "default_user": USER,
            "default_pass": password,
        }
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        write_private(self.folder / "rabbitmq.conf", text)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        read_or_create(self.folder / ".erlang.cookie")
        self.more_urls["management_url"] = f"http://127.0.0.1:{management_port}"
        return f"amqp://{USER}:{password}@127.0.0.1:{port}/"

    def _environment(self, epmd_port: int) -> dict[str, str]:
        """Return the node's environment; the machine's own configuration of RabbitMQ has no part in it."""
        folder = self.folder
        return {
            **clean_environment("RABBITMQ_", "ERL_", "NOTIFY_SOCKET", "XDG_"),
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(self._installed.epmd.parent)]),
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{ERLANG_ARGS} -kernel inet_dist_use_interface {{127,0,0,1}}",
        }


def answers(url: str) -> bool:
    """Tell whether the broker accepts an AMQP client at that address; call it where no event loop runs.

    Raises UnavailableError where waiting cannot help: `rabbitmq_password_refused`, or `rabbitmq_too_old`.
    """
    try:
        version = asyncio.run(_read_version(url))
    except ProbableAuthenticationError as err:
        raise _password_refused() from err
    except (AMQPError, OSError, TimeoutError):
        return False
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise _too_old(version)
    return True


def _password_refused() -> UnavailableError:
    return unavailable(
        "rabbitmq_password_refused",
        "RabbitMQ refuses the password in the folder: its data were made with another one, or only in part",
        where="rabbitmq/password",
        fix="put the file back, or remove the stack's folder rabbitmq to begin anew",
    )


def _too_old(version: str) -> UnavailableError:
    return unavailable(
        "rabbitmq_too_old",
        f"RabbitMQ {version} is installed; Weft needs {OLDEST[0]}.{OLDEST[1]} or newer",
        where="PATH",
        fix="install a newer rabbitmq-server, or set WEFT_AMQP_URL to one",
    )


async def _read_version(url: str) -> str:
    async with asyncio.timeout(_ANSWER_SECONDS):
        connection = await aiormq.connect(url)
        version = str(connection.server_properties.get("version", "0.0"))
        await connection.close()
    return version
