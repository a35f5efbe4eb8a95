"""The report for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.doctor.findings import Finding, Level, Report

_SIGNS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILURE: "✗", Level.SKIPPED: "·"}
_ASCII_SIGNS = {Level.OK: "+", Level.WARNING: "!", Level.FAILURE: "x", Level.SKIPPED: "-"}
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red", Level.SKIPPED: "dim"}


def write_report(report: Report, console: Console | None = None) -> None:
    """Write the findings to stdout, each with its fix below it, and how many are to be looked after."""
    console = console or Console()
    signs = _ASCII_SIGNS if console.options.ascii_only else _SIGNS
    table = Table.grid(padding=(0, 2, 0, 0))
    before = None
    for finding in report.findings:
        sign = Text(signs[finding.level], _STYLES[finding.level])
        table.add_row(sign, Text(finding.check if finding.check != before else ""), _told(finding))
        before = finding.check
    console.print(table)
    console.print(Text(_summary(report)))


def _told(finding: Finding) -> Text:
    is_asked_for = finding.fix and finding.level is not Level.OK
    return Text.assemble(finding.message, (f"\n-> {finding.fix}", "bold") if is_asked_for else "")


def _summary(report: Report) -> str:
    levels = [finding.level for finding in report.findings]
    failures, warnings = levels.count(Level.FAILURE), levels.count(Level.WARNING)
    return f"{'all is well' if report.ok else f'{failures} to be mended'}, {warnings} warnings"
