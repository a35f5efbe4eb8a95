"""How the figures of crops are shown."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.crop_sides import SIDES, Sample
from benchmarks.measures import MIB, to_table

Seconds = Mapping[str, Mapping[str, list[float]]]  # for a crop: by picture, by side, for each round

_HAS_VIPS = "pyvips" in SIDES
TITLE = "Crops: the pool beside Pillow and libvips"
PACKAGES = ("pillow", *(["pyvips", "pyvips-binary"] if _HAS_VIPS else []))
_INTRODUCTION = """\
The middle half of each side is cut out, and encoded in the format of the input. One picture at a time; the sides take
turns; medians. *way*: the whole file to a process and back, without any work; *pool*: with the work; *pillow*: its bare
calls in a loop; *pyvips*: libvips with one thread, which reads rows in their order, and encodes JPEG as Pillow does.
"""


def report(mix: Sequence[Sample], seconds: Seconds, throughput: Mapping[int, float]) -> str:
    """Return the report below its head, in Markdown."""
    rates = [[str(size), f"{rate:.1f}", f"{rate / throughput[1]:.2f}"] for size, rate in throughput.items()]
    head = f"## Throughput of the pool ({mix[0].name})"
    table = to_table(["processes", "pictures/s", "to one process"], rates)
    return "\n".join([_INTRODUCTION, *_table(mix, seconds), "", head, "", *table, ""])


def _table(mix: Sequence[Sample], seconds: Seconds) -> list[str]:
    heads = [
        "picture",
        *(f"{side}, ms" for side in SIDES),
        "pool / pillow",
        *(["pillow / pyvips"] if _HAS_VIPS else []),
    ]
    lines = to_table(heads, [_row(item, seconds[item.name]) for item in mix])
    if _HAS_VIPS:
        totals = [sum(median(sides[name]) for sides in seconds.values()) for name in ("pillow", "pyvips")]
        lines += ["", f"The mix, each picture once: Pillow takes {totals[0] / totals[1]:.2f}x the time of libvips."]
    return lines


def _row(sample: Sample, sides: Mapping[str, list[float]]) -> list[str]:
    name = f"{sample.name} ({len(sample.data) / MIB:.1f} MiB)"
    ratios = [_ratio(sides, "pool", "pillow"), *([_ratio(sides, "pillow", "pyvips")] if _HAS_VIPS else [])]
    return [name, *(f"{1_000 * median(sides[side]):.0f}" for side in SIDES), *(f"{ratio:.2f}" for ratio in ratios)]


def _ratio(sides: Mapping[str, list[float]], of: str, to: str) -> float:
    """Return the median of the ratios of the rounds."""
    return median(a / b for a, b in zip(sides[of], sides[to], strict=True))
