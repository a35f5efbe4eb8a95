"""Colour profiles, as small as they come."""

import struct

from PIL import ImageCms

_D50 = struct.pack(">iii", 63190, 65536, 54061)


def swapped() -> bytes:
    """sRGB with red and green exchanged: what is stored as red is meant to be green."""
    srgb = ImageCms.createProfile("sRGB")
    profile = ImageCms.ImageCmsProfile(srgb).tobytes()
    return profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")


def linear_grey() -> bytes:
    """Grey without gamma."""
    return _profile(b"GRAY", b"XYZ ", [(b"wtpt", b"XYZ \0\0\0\0" + _D50), (b"kTRC", b"curv" + bytes(8))])


def cmyk() -> bytes:
    """Inks that are not what they are called: full cyan is meant to be a strong red, whatever else is printed."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve = bytes(range(256))
    red, white = bytes((136, 208, 195)), bytes((255, 128, 128))  # L*a*b*, 8 bits each
    table = b"".join(red if corner & 8 else white for corner in range(16))  # cyan is the slowest of the four inks
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + 4 * curve + table + 3 * curve
    return _profile(b"CMYK", b"Lab ", [(b"wtpt", b"XYZ \0\0\0\0" + _D50), (b"A2B0", lut)], kind=b"prtr")


def _profile(colours: bytes, space: bytes, tags: list[tuple[bytes, bytes]], kind: bytes = b"mntr") -> bytes:
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content.ljust(-len(content) % 4 + len(content), b"\0")
    start = struct.pack(">I4sI4s4s4s12s4s", offset + len(body), b"", 0x02100000, kind, colours, space, b"", b"acsp")
    return start.ljust(68, b"\0") + _D50 + bytes(48) + table + body
