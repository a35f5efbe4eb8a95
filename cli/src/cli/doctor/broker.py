"""The broker: whether it answers, its version, the topology, its alarms."""

from collections.abc import Sequence

from aio_pika.abc import AbstractRobustConnection
from yarl import URL

from cli.doctor.clocks import compare_clocks, read_http_date
from cli.doctor.findings import Finding, Findings
from shared import topology
from shared.addresses import without_password
from shared.contracts.errors import UnavailableError, WeftError
from shared.messaging.connection import connect, server_version
from shared.messaging.management import ManagedNode, open_management
from shared.settings import Settings
from shared.topology_check import differences

OLDEST = (3, 10)
PATIENCE_SECONDS = 1.0
_MOST_TOLD = 5
# Where AMQP is encrypted, the password must not be sent over anything else that is not.
_MANAGEMENT = {"amqp": ("http", 15_672), "amqps": ("https", 15_671)}


async def check_broker(settings: Settings) -> Sequence[Finding]:
    """Look at RabbitMQ over AMQP, and at its management API where that is offered."""
    findings = Findings("broker")
    if settings.amqp_url is None:
        skip_or_fail(settings, "broker", "WEFT_AMQP_URL", findings)
        return findings.made
    try:
        async with connect(settings.amqp_url, name="weft doctor", patience=PATIENCE_SECONDS) as connection:
            _look_at_version(server_version(connection), findings)
            await _look_at_topology(connection, findings)
    except WeftError as err:
        findings.fail_with(err.problems)
    else:
        await _look_at_management(URL(settings.amqp_url), findings, settings.management_url)
    return findings.made


def skip_or_fail(settings: Settings, what: str, variable: str, findings: Findings) -> None:
    """Note that a server's address is not known, which matters only where the services run, too."""
    if settings.gateway_url is not None:
        findings.skip(f"the {what}'s address is not known here, and not needed for using the gateway")
    else:
        findings.fail(f"no {what} runs in this folder, and {variable} is not set", f"weft dev; or set {variable}")


def _look_at_version(version: str, findings: Findings) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST:
        findings.fail(f"RabbitMQ {version} is too old", f"use {OLDEST[0]}.{OLDEST[1]} or newer")
    else:
        findings.ok(f"RabbitMQ {version} answers")


async def _look_at_topology(connection: AbstractRobustConnection, findings: Findings) -> None:
    found = [difference async for difference in differences(connection)]
    for difference in found[:_MOST_TOLD]:
        is_missing = difference.reason is None
        fix = "weft setup" if is_missing else f"delete this {difference.what} when it is empty, then: weft setup"
        findings.fail(str(difference), fix)
    if len(found) > _MOST_TOLD:
        findings.fail(f"{len(found) - _MOST_TOLD} more are missing, or others", "weft setup")
    if not found:
        count = len(topology.QUEUES) + 1
        findings.ok(f"the topology is there: {len(topology.EXCHANGES)} exchanges, {count} queues")


async def _look_at_management(url: URL, findings: Findings, management_url: str | None = None) -> None:
    """Note alarms and the clock, which AMQP does not tell."""
    scheme, port = _MANAGEMENT[url.scheme]
    address = management_url or str(URL.build(scheme=scheme, host=url.host or "localhost", port=port))
    try:
        async with open_management(address, str(url)) as management:
            told = await management.nodes()
    except UnavailableError:
        message = f"alarms and clock are not known: no management API for this user at {without_password(address)}"
        findings.skip(message, "on the broker: rabbitmq-plugins enable rabbitmq_management")
        return
    for node in told.nodes:
        _look_at_node(node, findings)
    if moment := read_http_date(told.date):
        compare_clocks("the broker", moment, findings, coarse=True)


def _look_at_node(node: ManagedNode, findings: Findings) -> None:
    if node.mem_alarm:
        fix = "give it more memory, or let the workers catch up"
        findings.fail(f"{node.name} takes no messages: mem alarm", fix)
    if node.disk_free_alarm:
        fix = "free space on its disk, or lower disk_free_limit"
        findings.fail(f"{node.name} takes no messages: disk_free alarm", fix)
    elif node.disk_free is not None and node.disk_free_limit is not None:
        free, least = node.disk_free / 2**30, node.disk_free_limit / 2**30
        findings.ok(f"{node.name} has {free:.1f} GiB of disk; it stops taking messages at {least:.2f}")
