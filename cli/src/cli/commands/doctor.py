"""`weft doctor`: what is wrong, and what to do about it."""

import asyncio

from cli.commands.options import OutputOption
from cli.errors import ExitCode
from cli.output import Output


def doctor(output: OutputOption = Output.TEXT) -> int:
    """Look at settings, versions, disk, gateway, broker, database and model. Exit code 1: something must be mended."""
    from cli.doctor.examination import examine  # noqa: PLC0415 -- see the package
    from cli.doctor.report import write_report  # noqa: PLC0415 -- see the package
    from cli.render import write_json  # noqa: PLC0415 -- see the package

    report = asyncio.run(examine())
    if output is Output.JSON:
        write_json(report)
    else:
        write_report(report)
    return ExitCode.OK if report.ok else ExitCode.CHECK_FAILED
