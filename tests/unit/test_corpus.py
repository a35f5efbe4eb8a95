"""Each file of the corpus is taken, with its warnings, or refused, with its code; what is given out is pixels only."""

import io

import pytest
from PIL import Image
from tests.corpus import CORPUS

from crop_worker.body import crop_picture
from shared.contracts.crop_params import CropImageParams
from shared.contracts.errors import InvalidInputError
from shared.images import inspect

ACCEPTED = [specimen for specimen in CORPUS.values() if specimen.code is None]
REFUSED = [specimen for specimen in CORPUS.values() if specimen.code]
PAYLOADS = (b"PAYLOAD", b"<script>", b"%PDF", b"ICC_PROFILE", b"Exif")


def by_name(specimens):
    return pytest.mark.parametrize("specimen", specimens, ids=lambda specimen: specimen.name)


def test_the_corpus_is_the_same_each_time():
    assert all(specimen.build() == specimen.build() for specimen in CORPUS.values())


@by_name(REFUSED)
def test_is_refused_with_its_code_by_uploads_and_crops(specimen):
    for take in (inspect, lambda data: crop_picture(data, CropImageParams())):
        with pytest.raises(InvalidInputError) as caught:
            take(specimen.data)
        assert caught.value.code == specimen.code
        assert caught.value.problems[0].fix


@by_name(ACCEPTED)
def test_is_taken_by_uploads(specimen):
    info = inspect(specimen.data)
    assert min(info.width, info.height) > 0


@by_name(ACCEPTED)
def test_is_cropped_with_its_warnings_and_without_its_payload(specimen):
    result = crop_picture(specimen.data, CropImageParams())
    assert tuple(warning.code for warning in result.warnings) == specimen.warnings
    assert inspect(result.data) == result.info
    assert not any(payload in result.data for payload in PAYLOADS)


@by_name(ACCEPTED)
def test_equal_input_gives_equal_bytes(specimen):
    params = CropImageParams(width=50, height=50, max_width=20, format="png")
    assert crop_picture(specimen.data, params) == crop_picture(specimen.data, params)


def pixels(name, **params):
    return Image.open(io.BytesIO(crop_picture(CORPUS[name].data, CropImageParams(format="png", **params)).data))


@pytest.mark.parametrize("name", ["grey-16-bit.png", "rgb-16-bit.png"])
def test_16_bits_are_scaled_to_8(name):
    image = pixels(name).convert("RGB")
    reds = [image.getchannel("R").getpixel((x, 4)) for x in range(64)]
    assert reds == pytest.approx([x * 255 / 63 for x in range(64)], abs=1)


def test_cmyk_becomes_srgb_as_its_profile_says():
    colour = pixels("cmyk-profile.jpg").getpixel((16, 16))
    assert isinstance(colour, tuple)
    assert colour[0] > 100 + max(colour[1:])  # without the profile it would be cyan


def test_of_an_animation_the_first_frame_is_taken():
    for name in ("animated.gif", "animated.webp", "animated.png", "animated.avif"):
        still = name.replace("animated", "plain")
        first, same = (pixels(which).convert("RGB").resize((8, 6)).tobytes() for which in (name, still))
        assert max(abs(a - b) for a, b in zip(first, same, strict=True)) < 40
