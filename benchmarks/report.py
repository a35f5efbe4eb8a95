"""The figures as Markdown, and as a picture."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chart import Bars, draw
from benchmarks.loads.batches import Load
from benchmarks.loads.bodies import LATENCY_MS, Both
from benchmarks.loads.drain import Drained
from benchmarks.measures import MIB, Measured, Round, Spread, spread, to_table
from benchmarks.memory import Memory
from benchmarks.targets import WEFT, targets

Figure = Callable[[Measured], float]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured, and where.

    `setups` says how each peer was set up, `lost` which runs it lost; those `with_database` keep runs in PostgreSQL.
    """

    command: str
    machine: str
    versions: Mapping[str, str]
    turns: int
    sides: Sequence[str]
    with_database: Collection[str]
    setups: Mapping[str, str]
    loads: Sequence[Load]
    rounds: Sequence[Round]
    lost: Sequence[str]
    both: Sequence[Both]
    drained: Drained | None
    memory: Sequence[Memory]

    def to_markdown(self, picture: str | None = None) -> str:
        """Return the whole report, which shows the picture of that name, if there is one."""
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

    def _head(self, picture: str | None) -> list[str]:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        rounds = f"{self.turns} rounds, the sides in turn; medians (lowest to highest)."
        return [
            f"`{self.command}`",
            "",
            f"{self.machine}. {rounds}",
            "",
            f"{versions}.",
            *(["", f"![The sides beside each other]({picture})"] if picture else []),
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
        rate, cpu = spread(list(map(_rate, measured))), spread(list(map(_cpu_ms, measured)))
        kept = spread(history).shown() if history else "-"
        return [side, rate.shown(), kept, cpu.shown(2), self._ratio(side, load.name, _rate)]

    def _single(self, load: Load) -> list[str]:
        rows = [
            [
                side,
                spread([_p50(item) for item in self._measured(side, load.name)]).shown(),
                spread([item.percentile(95) * 1000 for item in self._measured(side, load.name)]).shown(),
                self._ratio(side, load.name, _p50),
            ]
            for side in self._given(load.name)
        ]
        return to_table(["", "p50 ms", "p95 ms", "Weft's p50 / its"], rows)

    def _costs(self) -> list[str]:
        header = ["", "CPU ms", "bytes of databases", "bytes of their log"]
        rows = [[side, *self._cost(side)] for side in self._given("burst")]
        note = "PostgreSQL only: what Celery, Taskiq and Dramatiq keep in Redis, and Prefect in SQLite, is not counted."
        return [*to_table(header, rows), "", note, "", *self._processes()]

    def _cost(self, side: str) -> list[str]:
        measured = self._measured(side, "burst")
        cpu = spread([_cpu_ms(item) for item in measured]).shown(2)
        if side not in self.with_database:
            return [cpu, "-", "-"]
        return [cpu, *(spread([figure(item) for item in measured]).shown() for figure in (_database, _log))]

    def _processes(self) -> list[str]:
        """Return the CPU time of each of Weft's processes."""
        measured = self._measured(WEFT, "burst")
        names = sorted({name for item in measured for name, seconds in item.spent.cpu.items() if seconds > 0})
        rows = [
            [name, spread([item.spent.cpu.get(name, 0.0) / item.nodes * 1000 for item in measured]).shown(2)]
            for name in names
        ]
        return to_table(["Weft's processes", "CPU ms per node"], rows)

    def _bodies(self) -> list[str]:
        seconds = [spread([getattr(item, side) for item in self.both]).shown(1) for side in ("weft", "bare")]
        ratio = spread([item.bare / item.weft for item in self.both]).shown(2)
        header = ["s by Weft", "s without an engine", "throughput, Weft / without"]
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
        return spread([figure(ours) / figure(theirs) for ours, theirs in pairs]).shown_as_ratio()


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
    memory = [f"{drained.before[name] / MIB:.0f}, {drained.after[name] / MIB:.0f}" for name in drained.before]
    rows = [
        [name, f"{rates.first:,.0f}", f"{rates.last:,.0f}", f"**{rates.last / rates.first:.2f}**"]
        for name, rates in (("nodes: first and last tenth", drained.nodes), ("crops: second and last", drained.crops))
    ]
    return [
        f"## {drained.runs:,} runs waiting, then done",
        "",
        *to_table(["per second", "at the start", "at the end", "end / start"], rows),
        "",
        *to_table([f"MiB of {name}, before and after" for name in drained.before], [memory]),
    ]


def _memory(memory: Sequence[Memory]) -> list[str]:
    total = Memory(
        "sum",
        resident=sum(item.resident for item in memory),
        proportional=sum(item.proportional for item in memory),
        unique=sum(item.unique for item in memory),
    )
    rows = [
        [item.name, *(f"{size / MIB:.0f}" for size in (item.resident, item.proportional, item.unique))]
        for item in (*memory, total)
    ]
    return to_table(["idle service", "RSS, MiB", "PSS, MiB", "USS, MiB"], rows)
