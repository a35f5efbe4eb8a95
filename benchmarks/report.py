"""The figures as Markdown, and as a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chart import Bars, draw
from benchmarks.loads.batches import Load
from benchmarks.loads.bodies import LATENCY_MS, Both
from benchmarks.loads.drain import Drained
from benchmarks.measures import Measured, Round, Spread, spread
from benchmarks.memory import Memory
from benchmarks.targets import WEFT, targets

_MIB = 2**20
Figure = Callable[[Measured], float]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured, and where. `setups` says how each peer was set up, `lost` which runs it lost."""

    command: str
    machine: str
    versions: Mapping[str, str]
    sides: Sequence[str]
    setups: Mapping[str, str]
    loads: Sequence[Load]
    rounds: Sequence[Round]
    lost: Sequence[str]
    both: Sequence[Both]
    drained: Drained | None
    memory: Sequence[Memory]

    def to_markdown(self, picture: str) -> str:
        """Return the whole report, which shows the picture of that name."""
        parts = [self._head(picture), ["## Aims", "", *self._aims()]]
        parts += [["## " + load.title, "", *self._load(load)] for load in self.loads if self._given(load.name)]
        parts += [["## Runs that were lost", "", *(f"- {what}." for what in self.lost)]] if self.lost else []
        parts += [["## What a node costs", "", *self._costs()]] if self._given("burst") else []
        parts += [self._bodies()] if self.both else []
        parts += [_backlog(self.drained)] if self.drained else []
        parts += [["## Memory of the idle services", "", *_memory(self.memory)], self._setup()]
        return "\n\n".join("\n".join(part) for part in parts) + "\n"

    def to_picture(self) -> str:
        """Return nodes/s, and the time of a single run, of all sides, as SVG."""
        panels = (("burst", "nodes per second", _rate), ("idle", "ms for one run on the idle system (p50)", _p50))
        return draw(
            [
                Bars(f"{self._title(load)}: {unit}", self._spreads(load, figure), WEFT)
                for load, unit, figure in panels
                if self._given(load)
            ]
        )

    def _head(self, picture: str) -> list[str]:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        rounds = f"{len(self.rounds)} rounds, the sides in turn; medians (lowest to highest)."
        return [
            f"`{self.command}`",
            "",
            f"{self.machine}. {rounds}",
            "",
            f"{versions}.",
            "",
            f"![The sides beside each other]({picture})",
        ]

    def _aims(self) -> list[str]:
        rows = [target.row() for target in targets(self.rounds, self.both, self.drained)]
        return to_table(["", "aim", "measured", "reached"], rows)

    def _load(self, load: Load) -> list[str]:
        header = ["", "nodes/s", "until the history is complete", "CPU ms per node", "Weft / it"]
        return (
            self._single(load)
            if load.batches > 1
            else to_table(header, [self._batch_row(load, side) for side in self._given(load.name)])
        )

    def _batch_row(self, load: Load, side: str) -> list[str]:
        measured = self._measured(side, load.name)
        history = [rate for item in measured if (rate := item.history_rate)]
        kept = _shown(spread(history)) if history else "-"
        rates = [
            _shown(spread([figure(item) for item in measured]), digits) for figure, digits in ((_rate, 0), (_cpu_ms, 2))
        ]
        return [side, rates[0], kept, rates[1], self._ratio(side, load.name, _rate)]

    def _single(self, load: Load) -> list[str]:
        rows = [
            [
                side,
                _shown(spread([_p50(item) for item in self._measured(side, load.name)])),
                _shown(spread([item.percentile(95) * 1000 for item in self._measured(side, load.name)])),
                self._ratio(side, load.name, _p50),
            ]
            for side in self._given(load.name)
        ]
        return to_table(["", "p50 ms", "p95 ms", "Weft's p50 / its"], rows)

    def _costs(self) -> list[str]:
        figures: Sequence[tuple[Figure, int]] = ((_cpu_ms, 2), (_database, 0), (_log, 0))
        rows = [
            [
                side,
                *(
                    _shown(spread([figure(item) for item in self._measured(side, "burst")]), digits)
                    for figure, digits in figures
                ),
            ]
            for side in self._given("burst")
        ]
        header = ["", "CPU ms", "bytes of databases", "bytes of their log"]
        note = "PostgreSQL only: what Celery, Taskiq and Dramatiq keep in Redis, and Prefect in SQLite, is not counted."
        return [*to_table(header, rows), "", note, "", *self._processes()]

    def _processes(self) -> list[str]:
        """Return the CPU time of each of Weft's processes."""
        measured = self._measured(WEFT, "burst")
        names = sorted({name for item in measured for name, seconds in item.spent.cpu.items() if seconds > 0})
        rows = [
            [name, _shown(spread([item.spent.cpu.get(name, 0.0) / item.nodes * 1000 for item in measured]), 2)]
            for name in names
        ]
        return to_table(["Weft's processes", "CPU ms per node"], rows)

    def _bodies(self) -> list[str]:
        seconds = [_shown(spread([getattr(item, side) for item in self.both]), 1) for side in ("weft", "bare")]
        ratio = _shown(spread([item.bare / item.weft for item in self.both]), 2)
        header = ["s by Weft", "s without an engine", "throughput, Weft / bare"]
        head = f"## Real bodies: crops of 2 MP photographs, and a model that takes {LATENCY_MS} ms"
        return [head, "", *to_table(header, [[*seconds, ratio]])]

    def _setup(self) -> list[str]:
        return ["## How the peers are set up", "", *(f"- **{name}**: {text}." for name, text in self.setups.items())]

    def _title(self, load: str) -> str:
        return next(item.title for item in self.loads if item.name == load)

    def _given(self, load: str) -> list[str]:
        """Return the sides that were given a load."""
        return [side for side in self.sides if self._measured(side, load)]

    def _measured(self, side: str, load: str) -> list[Measured]:
        return [item[side][load] for item in self.rounds if load in item.get(side, {})]

    def _spreads(self, load: str, figure: Figure) -> list[tuple[str, Spread]]:
        return [(side, spread([figure(item) for item in self._measured(side, load)])) for side in self._given(load)]

    def _ratio(self, side: str, load: str, figure: Figure) -> str:
        if side == WEFT or WEFT not in self._given(load):
            return ""
        pairs = zip(self._measured(WEFT, load), self._measured(side, load), strict=True)
        values = spread([figure(ours) / figure(theirs) for ours, theirs in pairs])
        return f"**{values.median:.2f}** ({values.lowest:.2f} to {values.highest:.2f})"


def to_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def _rate(measured: Measured) -> float:
    return measured.rate


def _p50(measured: Measured) -> float:
    return measured.percentile(50) * 1000


def _cpu_ms(measured: Measured) -> float:
    return measured.cpu_per_node * 1000


def _database(measured: Measured) -> float:
    return measured.spent.database / measured.nodes


def _log(measured: Measured) -> float:
    return measured.spent.log / measured.nodes


def _backlog(drained: Drained) -> list[str]:
    memory = [f"{drained.before[name] / _MIB:.0f}, {drained.after[name] / _MIB:.0f}" for name in drained.before]
    header = [
        "nodes/s, first tenth",
        "last tenth",
        "last / first",
        *(f"MiB of {name}, before and after" for name in drained.before),
    ]
    rates = [f"{drained.first:.0f}", f"{drained.last:.0f}", f"**{drained.last / drained.first:.2f}**"]
    return [f"## {drained.runs:,} runs waiting, then done", "", *to_table(header, [[*rates, *memory]])]


def _memory(memory: Sequence[Memory]) -> list[str]:
    total = Memory(
        "sum",
        resident=sum(item.resident for item in memory),
        proportional=sum(item.proportional for item in memory),
        unique=sum(item.unique for item in memory),
    )
    rows = [
        [item.name, *(f"{size / _MIB:.0f}" for size in (item.resident, item.proportional, item.unique))]
        for item in (*memory, total)
    ]
    return to_table(["idle service", "RSS, MiB", "PSS, MiB", "USS, MiB"], rows)


def _shown(values: Spread, digits: int = 0) -> str:
    return f"{values.median:,.{digits}f} ({values.lowest:,.{digits}f} to {values.highest:,.{digits}f})"
