"""Damaged files, made from the corpus; the same each time for the same number."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

from tests.corpus import CORPUS

from shared.contracts.crop_params import CropImageParams

LARGEST = 40_000  # bytes of a file that is worth damaging often
_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = [struct.pack(">I", value) for value in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)]

SOURCES: Sequence[bytes] = tuple(
    specimen.data
    for specimen in CORPUS.values()
    if specimen.code is None and len(specimen.data) <= LARGEST and specimen.name != "most-pixels.png"
)
PARAMS: Sequence[CropImageParams] = (
    CropImageParams(),
    CropImageParams(x=10, y=10, width=50, height=50),
    CropImageParams(aspect_ratio="1:1", smart=True, format="jpeg", background="#336699"),
    CropImageParams(x=-20, width=140, out_of_bounds="pad", padding=2, background="transparent", format="webp"),
    CropImageParams(max_width=30, max_height=30, format="png"),
)


def case(seed: int, number: int) -> tuple[bytes, CropImageParams]:
    """Return the file and the params of a case."""
    dice = random.Random(f"{seed}/{number}")
    data = bytearray(dice.choice(SOURCES))
    for _ in range(dice.randint(1, 4)):
        dice.choice(_MUTATIONS)(data, dice)
    if data.startswith(_PNG) and dice.random() < 0.7:
        data = _with_right_checksums(bytes(data))
    return bytes(data), dice.choice(PARAMS)


def _flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 16)):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _flip_early(data: bytearray, dice: random.Random) -> None:
    """Damage headers, where the sizes are."""
    for _ in range(dice.randint(1, 6)):
        if data:
            data[dice.randrange(min(len(data), 200))] = dice.randrange(256)


def _set_number(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    data[start : start + 4] = dice.choice(_NUMBERS)


def _cut_off(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _cut_out(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    del data[start : start + dice.randint(1, 64)]


def _repeat(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = data[start : start + dice.randint(1, 256)] * dice.randint(1, 8)


def _splice(data: bytearray, dice: random.Random) -> None:
    other = dice.choice(SOURCES)
    start = dice.randrange(len(data) + 1)
    data[start:] = other[min(start, len(other)) :]


_MUTATIONS: Sequence[Callable[[bytearray, random.Random], None]] = (
    _flip,
    _flip_early,
    _set_number,
    _cut_off,
    _cut_out,
    _repeat,
    _splice,
)


def _with_right_checksums(data: bytes) -> bytearray:
    """Return a PNG whose damaged chunks pass their checks, so that what reads them gets to see them."""
    repaired, at = bytearray(_PNG), len(_PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        chunk = data[at + 4 : at + 8 + length]
        repaired += data[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return repaired + data[at:]
