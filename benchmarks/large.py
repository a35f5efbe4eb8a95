"""`python -m benchmarks.large`: what a node costs in runs of 10 and of 10,000 nodes, and what a large run costs others.

Every part compares two measurements of one command on one machine. Exit codes as those of `benchmarks.run`.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID

import uvloop

from benchmarks.command import head_of_report, new_parser, positive, run_command, say, start_stack
from benchmarks.measures import RunsLostError, to_table
from benchmarks.shapes import Node, Shape, chain
from benchmarks.spending import cpu_by_name
from benchmarks.weft_client import WeftClient, open_client, wait_for_history
from benchmarks.weft_side import SERVICES, WORKERS, graph, open_history, start_settled
from shared.contracts.graph import WorkflowGraph
from shared.contracts.run_options import DEFAULT_WINDOW
from shared.database import Database
from shared.settings import Settings

SMALL, LARGE = 10, 10_000
# Nodes in flight of a large run that is measured for its cost: three times what its worker has in hand. They are fewer
# than the small runs have together, each of which may have as many as is the default.
WINDOW = 200
LONG_PATIENCE = 900.0  # seconds for a chain of 10,000 hops
WARM_UP_RUNS, IDLE_RUNS = 20, 60
BESIDE = 3  # nodes of the run whose time is compared


def side_by_side(nodes: int) -> WorkflowGraph:
    """Return a graph of questions that wait for nothing."""
    return graph(Shape("side by side", (Node("ask"),) * nodes))


class _CostPerNode:
    """Measures what runs take, until their history is complete: seconds, and CPU time of all our child processes."""

    def __init__(self, client: WeftClient, database: Database) -> None:
        self._client = client
        self._database = database

    async def at_once(self, workflow: WorkflowGraph, runs: int, *, window: int | None = None) -> tuple[float, float]:
        """Return ms and CPU ms per node of runs that are submitted at once."""
        return await self._measure([(workflow, runs)], window)

    async def one_by_one(self, workflow: WorkflowGraph, runs: int) -> tuple[float, float]:
        """Return ms and CPU ms per node of runs of which each begins when the one before has ended.

        Their history is written meanwhile, as that of a large run is while it goes on.
        """
        return await self._measure([(workflow, 1)] * runs, None)

    async def _measure(self, parts: Sequence[tuple[WorkflowGraph, int]], window: int | None) -> tuple[float, float]:
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


async def _sizes(cost: _CostPerNode, rounds: int) -> list[list[str]]:
    """Return rows that compare the cost per node in small and in large runs."""
    rows: list[list[str]] = []
    await cost.at_once(side_by_side(SMALL), 50)
    for _ in range(rounds):
        small = await cost.at_once(side_by_side(SMALL), LARGE // SMALL)
        large = await cost.at_once(side_by_side(LARGE), 1, window=WINDOW)
        rows.append(_row(f"{LARGE:,} wide", small, large))
    small, large = await cost.one_by_one(graph(chain(SMALL)), 50), await cost.one_by_one(graph(chain(LARGE)), 1)
    rows.append(_row(f"{LARGE:,} deep", small, large))
    return rows


def _row(name: str, small: tuple[float, float], large: tuple[float, float]) -> list[str]:
    times = [f"{small[0]:.2f}", f"{large[0]:.2f}", f"**{large[0] / small[0]:.2f}**"]
    cpu = [f"{small[1]:.2f}", f"{large[1]:.2f}", f"**{large[1] / small[1]:.2f}**"]
    return _told([name, *times, *cpu])


async def _fairness(client: WeftClient) -> list[list[str]]:
    """Return a row that compares a small run's time on the idle system with that beside a large run."""
    small = graph(chain(BESIDE))
    for _ in range(WARM_UP_RUNS):
        await client.run(small, 1)
    idle = [(await client.run(small, 1))[0] for _ in range(IDLE_RUNS)]
    (end,) = (await client.submit(side_by_side(LARGE), 1)).values()
    busy: list[float] = []
    while not end.done() and len(busy) < IDLE_RUNS:
        busy.append((await client.run(small, 1))[0])
    if end.done():
        raise RunsLostError(f"the large run ended beside {len(busy)} small ones, too soon to compare")
    await end
    delay = (median(busy) - median(idle)) / median(idle)
    return [_told([f"{median(idle) * 1000:.0f}", f"{median(busy) * 1000:.0f}", f"**{delay:.2f}**"])]


async def _measure(settings: Settings, rounds: int) -> str:
    async with (
        open_client(settings.require("amqp_url"), patience=LONG_PATIENCE) as client,
        open_history(settings) as database,
    ):
        fairness = await _fairness(client)
        sizes = await _sizes(_CostPerNode(client, database), rounds)
    beside = [f"ms of a run of {BESIDE}, idle", f"beside a run of {LARGE:,}", "delay / idle"]
    small, large = f"in runs of {SMALL}", f"in runs of {LARGE:,}"
    header = ["", f"ms per node {small}", large, "ratio", f"CPU ms per node {small}", large, "ratio"]
    windows = (
        f"Nodes in flight: up to {WINDOW} of a wide run of {LARGE:,} that is measured for its cost;"
        f" up to {DEFAULT_WINDOW}, the default, of each other run."
    )
    return "\n".join([*to_table(beside, fairness), "", *to_table(header, sizes), "", windows, ""])


def _told(row: list[str]) -> list[str]:
    say(" | ".join(row))
    return row


def _start_and_measure(resources: ExitStack, folder: Path, *, rounds: int) -> str:
    settings = start_stack(resources, folder)
    # Not as a WeftSide, whose own client nobody would read from here: the broker would close its connection meanwhile.
    start_settled(resources, settings, {**SERVICES, **WORKERS}, folder / "logs")
    return uvloop.run(_measure(settings, rounds))


def main() -> int:
    """Measure, and print the report."""
    parser = new_parser("large", __doc__)
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of the wide graphs (default 3)")
    options = parser.parse_args()
    measure = partial(_start_and_measure, rounds=options.rounds)
    return run_command(measure, head=head_of_report("large"), output=options.output)


if __name__ == "__main__":
    sys.exit(main())
