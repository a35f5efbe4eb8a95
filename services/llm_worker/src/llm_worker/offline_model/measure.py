"""What the stand-in sees in a picture: size, brightness and colours, measured on its pixels."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import chain

from PIL import Image, ImageStat

Box = tuple[int, int, int, int]
Rgb = tuple[int, ...]

# Several tones may share a name: names are what people recognise, tones are what pixels have.
_TONES: tuple[tuple[str, Rgb], ...] = (
    ("black", (0, 0, 0)),
    ("black", (25, 25, 25)),
    ("dark grey", (70, 70, 70)),
    ("grey", (128, 128, 128)),
    ("light grey", (195, 195, 195)),
    ("white", (240, 240, 240)),
    ("white", (255, 255, 255)),
    ("red", (255, 0, 0)),
    ("red", (210, 30, 30)),
    ("dark red", (120, 10, 10)),
    ("orange", (255, 140, 0)),
    ("brown", (130, 75, 30)),
    ("brown", (90, 55, 25)),
    ("beige", (225, 205, 170)),
    ("yellow", (255, 255, 0)),
    ("yellow", (230, 200, 40)),
    ("green", (0, 255, 0)),
    ("green", (40, 170, 60)),
    ("green", (0, 128, 0)),
    ("dark green", (10, 70, 20)),
    ("cyan", (0, 255, 255)),
    ("cyan", (60, 180, 190)),
    ("light blue", (150, 200, 240)),
    ("blue", (0, 0, 255)),
    ("blue", (40, 90, 200)),
    ("navy", (10, 15, 90)),
    ("purple", (128, 0, 128)),
    ("purple", (110, 60, 170)),
    ("magenta", (255, 0, 255)),
    ("pink", (255, 170, 190)),
)
_BRIGHTNESS_WORDS = ("very dark", "dark", "medium bright", "bright", "very bright")
_SAMPLE_SIDE = 256
_COLOURS_NAMED = 4
_SMALLEST_SHARE_NAMED = 3
_VISIBLE_DIFFERENCE = 60


@dataclass(frozen=True, slots=True)
class ColourShare:
    """A colour by name, and how much of the picture it covers in whole percent."""

    name: str
    percent: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured in one picture.

    `width` and `height` are pixels; `brightness` is the mean luma, 0 to 255; `average` the mean colour
    as `#rrggbb`; `colours` the most frequent ones first, at least one; `contrast` how two halves differ,
    None where they are alike.
    """

    width: int
    height: int
    brightness: int
    brightness_word: str
    average: str
    colours: tuple[ColourShare, ...]
    contrast: str | None

    @property
    def orientation(self) -> str:
        """`landscape`, `portrait` or `square`."""
        if self.width == self.height:
            return "square"
        return "landscape" if self.width > self.height else "portrait"


def measure(picture: Image.Image) -> Measurement:
    """Measure an upright picture of any mode; transparent parts count as white. Equal in, equal out."""
    sample = _sample(picture)
    named = sample.quantize(palette=_palette(), dither=Image.Dither.NONE)
    brightness = round(ImageStat.Stat(sample.convert("L")).mean[0])
    return Measurement(
        width=picture.width,
        height=picture.height,
        brightness=brightness,
        brightness_word=_BRIGHTNESS_WORDS[brightness * len(_BRIGHTNESS_WORDS) // 256],
        average="#" + "".join(f"{round(channel):02x}" for channel in ImageStat.Stat(sample).mean),
        colours=_dominant(named),
        contrast=_contrast(sample, named),
    )


def _sample(picture: Image.Image) -> Image.Image:
    """Return at most 256 x 256 of the picture's own pixels; blending them would invent colours."""
    size = (min(picture.width, _SAMPLE_SIDE), min(picture.height, _SAMPLE_SIDE))
    sample = picture.resize(size, Image.Resampling.NEAREST)  # pyright: ignore[reportUnknownMemberType]  # numpy is not installed
    if sample.mode.startswith("I;16"):
        sample = _upper_bytes(sample)
    return Image.alpha_composite(Image.new("RGBA", size, "white"), sample.convert("RGBA")).convert("RGB")


def _upper_bytes(grey: Image.Image) -> Image.Image:
    # Pillow's own conversion from 16 to 8 bits clips instead of scaling.
    big_endian = grey.mode == "I;16B"
    return Image.frombytes("L", grey.size, grey.tobytes()[0 if big_endian else 1 :: 2])


@cache
def _palette() -> Image.Image:
    palette = Image.new("P", (1, 1))
    palette.putpalette(list(chain.from_iterable(tone for _, tone in _TONES)))
    return palette


def _shares(named: Image.Image) -> Counter[str]:
    counts: Counter[str] = Counter()
    for pixels, (name, _) in zip(named.histogram(), _TONES, strict=False):
        counts[name] += pixels
    return counts


def _dominant(named: Image.Image) -> tuple[ColourShare, ...]:
    total = named.width * named.height
    ranked = _shares(named).most_common(_COLOURS_NAMED)
    shares = [ColourShare(name, round(100 * pixels / total)) for name, pixels in ranked]
    return tuple(share for share in shares if share.percent >= _SMALLEST_SHARE_NAMED)


def _contrast(sample: Image.Image, named: Image.Image) -> str | None:
    """Describe the pair of halves, left and right or top and bottom, that differs most."""
    width, height = sample.size
    pairs: list[tuple[str, Box, str, Box]] = [
        ("left", (0, 0, width // 2, height), "right", (width - width // 2, 0, width, height)),
        ("top", (0, 0, width, height // 2), "bottom", (0, height - height // 2, width, height)),
    ]
    pairs = [pair for pair in pairs if _is_area(pair[1])]
    differences = [_difference(sample, one, other) for _, one, _, other in pairs]
    if max(differences, default=0) < _VISIBLE_DIFFERENCE:
        return None
    name, box, other_name, other_box = pairs[differences.index(max(differences))]
    colour, other_colour = (_shares(named.crop(half)).most_common(1)[0][0] for half in (box, other_box))
    if colour == other_colour:
        return f"the {name} and {other_name} halves differ in tone, both mostly {colour}"
    return f"{name} half mostly {colour}, {other_name} half mostly {other_colour}"


def _is_area(box: Box) -> bool:
    return box[2] > box[0] and box[3] > box[1]


def _difference(sample: Image.Image, one: Box, other: Box) -> float:
    means = (ImageStat.Stat(sample.crop(half)).mean for half in (one, other))
    return sum(abs(a - b) for a, b in zip(*means, strict=True))
