"""The colours of decoded pictures: 8 bits per channel, sRGB, with or without transparency."""

import io

from PIL import Image, ImageCms

from shared.images.warn import ICC_IGNORED, Warn, nobody, transparency_flattened

BACKGROUND = "white"  # what shows through where a format has no transparency
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Return the picture with 8 bits per channel or fewer; what has more is scaled, where Pillow would clip."""
    return _scaled_to_8_bits(image) if image.mode.startswith("I") else image


def to_srgb(image: Image.Image, warn: Warn = nobody) -> Image.Image:
    """Return the picture in sRGB, 8 bits per channel, in mode L, LA, RGB or RGBA, without a colour profile.

    A profile that is broken, or made for other channels, is ignored, as viewers do; warns of `icc_ignored`.
    """
    profile = image.info.get("icc_profile")
    image = expand(image)
    converted = None
    if profile:
        try:
            converted = _apply_profile(image, profile)
        except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
            warn(ICC_IGNORED)
    if converted is None:
        converted = in_mode(image, "RGB" if image.mode == "CMYK" else image.mode)
    converted.info.pop("icc_profile", None)
    return converted


def expand(image: Image.Image) -> Image.Image:
    """Return the picture in mode L, LA, RGB, RGBA or CMYK: one value per pixel and channel, no palette."""
    image = to_8_bits(image)
    clear = image.has_transparency_data
    if image.mode in ("1", "L"):
        return in_mode(image, "LA" if clear else "L")
    if image.mode in ("P", "PA", "RGB"):
        return in_mode(image, "RGBA" if clear else "RGB")
    return image


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return the picture in that mode; the picture itself, and no copy, if it is in it."""
    return image if image.mode == mode else image.convert(mode)


def flatten(image: Image.Image, background: str = BACKGROUND, warn: Warn = nobody) -> Image.Image:
    """Return a picture in mode L, LA, RGB or RGBA without its transparency, on the background.

    Warns of `transparency_flattened` if any of it showed through.
    """
    if not image.has_transparency_data:
        return image
    layer = in_mode(image, "RGBA")
    lowest_alpha, _ = layer.getchannel("A").getextrema()
    if lowest_alpha == 255:  # noqa: PLR2004 - opaque
        return layer.convert("RGB")
    warn(transparency_flattened(background))
    canvas = Image.new("RGBA", layer.size, background)
    return Image.alpha_composite(canvas, layer).convert("RGB")


def _scale(value: Image.ImagePointTransform) -> Image.ImagePointTransform:
    return value * (1 / 257) + 0.5  # the half rounds, since what follows cuts off


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    scaled = image.point(_scale)  # pyright: ignore[reportUnknownMemberType]  # it names numpy's types
    grey = scaled.convert("L")
    clear = image.info.get("transparency")
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    if isinstance(clear, int):
        grey.info["transparency"] = round(clear / 257)
    return grey


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Return the picture converted from that ICC profile to sRGB, in mode RGB or RGBA."""
    alpha = image.getchannel("A") if image.mode in _WITH_ALPHA else None
    colours = in_mode(image, image.mode.removesuffix("A"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # C
    target = ImageCms.ImageCmsProfile(srgb)  # pyright: ignore[reportUnknownArgumentType]  # C, without stubs
    converted = ImageCms.ImageCmsTransform(source, target, colours.mode, "RGB").apply(colours)
    if alpha:
        converted.putalpha(alpha)
    return converted
