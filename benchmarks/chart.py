"""The picture: bars with their ranges, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.measures import Spread

WIDTH, LABEL, VALUE = 760, 130, 130  # pixels: of all, of the names, of the figures behind the bars
ROW, BAR, TITLE, GAP = 26, 16, 34, 18
OURS, THEIRS, INK, RANGE = "#1f6feb", "#9aa4af", "#1c2128", "#57606a"


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
    scale = (WIDTH - LABEL - VALUE) / max(item.highest for _, item in panel.values)
    lines = [f'<text x="12" y="{top + 22}" font-weight="600">{escape(panel.title)}</text>']
    for number, (name, item) in enumerate(panel.values):
        colour = OURS if name == panel.highlighted else THEIRS
        lines += _bar(name, item, colour, scale, top + TITLE + ROW * number)
    return lines


def _bar(name: str, item: Spread, colour: str, scale: float, top: int) -> list[str]:
    middle, low, high = top + BAR / 2, LABEL + item.lowest * scale, LABEL + item.highest * scale
    text = top + BAR - 4
    return [
        f'<text x="{LABEL - 8}" y="{text}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LABEL}" y="{top}" width="{max(1.0, item.median * scale):.1f}" height="{BAR}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{RANGE}" stroke-width="2"/>',
        f'<text x="{high + 8:.1f}" y="{text}">{_short(item)}</text>',
    ]


def _short(item: Spread) -> str:
    return f"{item.median:,.0f} ({item.lowest:,.0f} to {item.highest:,.0f})"
