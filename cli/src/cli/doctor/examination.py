"""All checks, side by side; none of them can keep the others from being made."""

import asyncio
from collections.abc import Mapping, Sequence

from cli.doctor.broker import check_broker
from cli.doctor.database import check_database
from cli.doctor.findings import Check, Finding, Findings, Level, Report
from cli.doctor.gateway import check_gateway
from cli.doctor.machine import check_disk, check_tools, check_versions
from cli.doctor.model import check_model
from cli.doctor.settings import check_settings, usable_settings
from shared.settings import Settings

MOST_SECONDS = 15.0
CHECKS: Mapping[str, Check] = {
    "settings": check_settings,
    "versions": check_versions,
    "tools": check_tools,
    "disk": check_disk,
    "gateway": check_gateway,
    "broker": check_broker,
    "database": check_database,
    "model": check_model,
}


async def examine(checks: Mapping[str, Check] = CHECKS) -> Report:
    """Return what all checks find, in their order; never raises."""
    findings = Findings("settings")
    settings = usable_settings(findings)
    results = await asyncio.gather(*(_made(name, check, settings) for name, check in checks.items()))
    found = (*findings.made, *(finding for result in results for finding in result))
    return Report(ok=all(finding.level is not Level.FAILURE for finding in found), findings=found)


async def _made(name: str, check: Check, settings: Settings) -> Sequence[Finding]:
    findings = Findings(name)
    try:
        async with asyncio.timeout(MOST_SECONDS):
            return await check(settings)
    except TimeoutError:
        findings.fail(f"this could not be looked at within {MOST_SECONDS:.0f} s", "see whether it is overloaded")
    except Exception as err:  # noqa: BLE001 -- one check that breaks must not hide what the others find
        findings.fail(f"this could not be looked at: {type(err).__name__}: {err}", None)
    return findings.made
