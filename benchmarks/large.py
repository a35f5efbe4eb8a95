"""`python -m benchmarks.large`: what a node costs in runs of 10 and of 10,000 nodes, and what a large run costs others.

Every part compares two measurements of one command on one machine. Exit codes as those of `benchmarks.run`.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from uuid import UUID

import uvloop

from benchmarks.command import EXIT_INTERRUPTED, EXIT_LOST, leave, start_stack
from benchmarks.machine import describe_machine
from benchmarks.measures import RunsLostError
from benchmarks.report import to_table
from benchmarks.shapes import chain
from benchmarks.spending import cpu_by_name
from benchmarks.weft_client import WeftClient, open_client, wait_for_history
from benchmarks.weft_side import graph, open_history, start_weft
from shared.contracts.graph import WorkflowGraph, read_graph
from shared.database import Database
from shared.logs import configure_logs
from shared.settings import Settings

SMALL, LARGE = 10, 10_000
WINDOW = 200  # nodes in flight of the large runs that are measured for their cost: as many as small runs have together
LONG_PATIENCE = 900.0  # seconds for a chain of 10,000 hops
IDLE_RUNS = 60
BESIDE = 3  # nodes of the run whose time is compared


def wide(nodes: int) -> WorkflowGraph:
    """Return a graph of questions that wait for nothing."""
    return read_graph({"nodes": [_question(number) for number in range(nodes)], "edges": []})


def _question(number: int) -> dict[str, object]:
    return {"id": str(number), "type": "llm", "params": {"userMessage": "What is it?"}}


class _Meter:
    """Measures what runs take, until their history is complete: seconds, and CPU time of all our child processes."""

    def __init__(self, client: WeftClient, database: Database) -> None:
        self._client = client
        self._database = database

    async def at_once(self, workflow: WorkflowGraph, runs: int, *, window: int | None = None) -> tuple[float, float]:
        """Return ms and CPU ms per node of runs that are submitted at once."""
        return await self._per_node([(workflow, runs)], window)

    async def one_by_one(self, workflow: WorkflowGraph, runs: int) -> tuple[float, float]:
        """Return ms and CPU ms per node of runs of which each begins when the one before has ended.

        Their history is written meanwhile, as that of a large run is while it goes on.
        """
        return await self._per_node([(workflow, 1)] * runs, None)

    async def _per_node(self, parts: Sequence[tuple[WorkflowGraph, int]], window: int | None) -> tuple[float, float]:
        cpu, seconds, nodes = sum(cpu_by_name().values()), 0.0, 0
        all_runs: list[tuple[WorkflowGraph, Sequence[UUID]]] = []
        for workflow, runs in parts:
            taken, run_ids = await self._client.run(workflow, runs, window=window)
            seconds += taken
            nodes += runs * len(workflow.nodes)
            all_runs.append((workflow, run_ids))
        for workflow, run_ids in all_runs:
            await wait_for_history(self._database, run_ids, nodes=len(workflow.nodes))
        return seconds / nodes * 1000, (sum(cpu_by_name().values()) - cpu) / nodes * 1000


async def _sizes(meter: _Meter, rounds: int) -> list[list[str]]:
    """Return rows that compare the cost per node in small and in large runs."""
    rows: list[list[str]] = []
    await meter.at_once(wide(SMALL), 50)
    for _ in range(rounds):
        small, large = (
            await meter.at_once(wide(SMALL), LARGE // SMALL),
            await meter.at_once(wide(LARGE), 1, window=WINDOW),
        )
        rows.append(_row(f"{LARGE:,} wide", small, large))
    small, large = await meter.one_by_one(graph(chain(SMALL)), 50), await meter.one_by_one(graph(chain(LARGE)), 1)
    rows.append(_row(f"{LARGE:,} deep", small, large))
    return rows


def _row(name: str, small: tuple[float, float], large: tuple[float, float]) -> list[str]:
    times = [f"{small[0]:.2f}", f"{large[0]:.2f}", f"**{large[0] / small[0]:.2f}**"]
    cpu = [f"{small[1]:.2f}", f"{large[1]:.2f}", f"**{large[1] / small[1]:.2f}**"]
    return _said([name, *times, *cpu])


async def _fairness(client: WeftClient) -> list[list[str]]:
    """Return a row that compares a small run's time on the idle system with that beside a large run."""
    small = graph(chain(BESIDE))
    idle = [(await client.run(small, 1))[0] for _ in range(IDLE_RUNS)]
    (end,) = (await client.submit(wide(LARGE), 1)).values()
    busy: list[float] = []
    while not end.done() and len(busy) < IDLE_RUNS:
        busy.append((await client.run(small, 1))[0])
    if end.done():
        raise RunsLostError(f"the large run ended beside {len(busy)} small ones, too soon to compare")
    await end
    delay = (median(busy) - median(idle)) / median(idle)
    return [_said([f"{median(idle) * 1000:.0f}", f"{median(busy) * 1000:.0f}", f"**{delay:.2f}**"])]


async def _measure(settings: Settings, rounds: int) -> str:
    async with (
        open_client(settings.require("amqp_url"), patience=LONG_PATIENCE) as client,
        open_history(settings) as database,
    ):
        fairness = await _fairness(client)
        sizes = await _sizes(_Meter(client, database), rounds)
    beside = [f"ms of a run of {BESIDE}, idle", "beside a run of 10,000", "delay / idle"]
    small, large = f"in runs of {SMALL}", f"in runs of {LARGE:,}"
    header = ["", f"ms per node {small}", large, "ratio", f"CPU ms per node {small}", large, "ratio"]
    return "\n".join([*to_table(beside, fairness), "", *to_table(header, sizes), ""])


def _said(row: list[str]) -> list[str]:
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row


def main() -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the wide graphs (default 3)")
    parser.add_argument("--output", type=Path, help="write the report to this file, too")
    options = parser.parse_args()
    configure_logs("benchmark", log_format="console", level="WARNING")
    signal.signal(signal.SIGTERM, leave)
    try:
        with tempfile.TemporaryDirectory(prefix="weft-benchmark-") as folder, ExitStack() as resources:
            settings = start_stack(resources, Path(folder))
            start_weft(resources, settings, Path(folder) / "weft")
            report = uvloop.run(_measure(settings, options.rounds))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunsLostError as err:
        print(f"lost: {err}", file=sys.stderr)
        return EXIT_LOST
    if options.output:
        options.output.write_text(f"`python -m benchmarks.large`\n\n{describe_machine()}.\n\n{report}")
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
