"""The picture: bars with their ranges, as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.measures import Spread

WIDTH, LABEL, VALUE = 760, 130, 130  # pixels: of all, of the names, of the figures behind the bars
ROW, BAR, TITLE, GAP = 26, 16, 34, 18
LARGE = 10  # where a value is so many times the highlighted one, the scale is logarithmic, so that both can be seen
OURS, THEIRS, INK, RANGE = "#1f6feb", "#9aa4af", "#1c2128", "#57606a"


Length = Callable[[float], float]  # of a bar, in pixels


@dataclass(frozen=True, slots=True)
class Bars:
    """A title, and a bar for each name; `highlighted` is the one in another colour."""

    title: str
    values: Sequence[tuple[str, Spread]]
    highlighted: str


def draw(panels: Sequence[Bars]) -> str:
    """Return the panels one below the other."""
    heights = [TITLE + ROW * len(panel.values) + GAP for panel in panels]
    tops = [sum(heights[:number]) for number in range(len(panels))]
    parts = [line for panel, top in zip(panels, tops, strict=True) for line in _panel(panel, top)]
    size = f'width="{WIDTH}" height="{sum(heights)}" viewBox="0 0 {WIDTH} {sum(heights)}"'
    style = f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {style}>',
            f'<rect width="{WIDTH}" height="{sum(heights)}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(panel: Bars, top: int) -> list[str]:
    lowest, highest = min(item.lowest for _, item in panel.values), max(item.highest for _, item in panel.values)
    highlighted = [item.median for name, item in panel.values if name == panel.highlighted]
    is_logarithmic = any(highest / value > LARGE for value in highlighted)
    length = _logarithmic(lowest / 2, highest) if is_logarithmic else _linear(highest)
    title = panel.title + (" (logarithmic)" if is_logarithmic else "")
    lines = [f'<text x="12" y="{top + 22}" font-weight="600">{escape(title)}</text>']
    for number, (name, item) in enumerate(panel.values):
        colour = OURS if name == panel.highlighted else THEIRS
        lines += _bar(name, item, colour, length, top + TITLE + ROW * number)
    return lines


def _bar(name: str, item: Spread, colour: str, length: Length, top: int) -> list[str]:
    middle, low, high = top + BAR / 2, LABEL + length(item.lowest), LABEL + length(item.highest)
    text = top + BAR - 4
    return [
        f'<text x="{LABEL - 8}" y="{text}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LABEL}" y="{top}" width="{length(item.median):.1f}" height="{BAR}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{RANGE}" stroke-width="2"/>',
        f'<text x="{high + 8:.1f}" y="{text}">{_short(item)}</text>',
    ]


def _linear(highest: float) -> Length:
    return lambda value: (WIDTH - LABEL - VALUE) * value / highest


def _logarithmic(lowest: float, highest: float) -> Length:
    return lambda value: (WIDTH - LABEL - VALUE) * math.log(value / lowest) / math.log(highest / lowest)


def _short(item: Spread) -> str:
    return f"{item.median:,.0f} ({item.lowest:,.0f} to {item.highest:,.0f})"
