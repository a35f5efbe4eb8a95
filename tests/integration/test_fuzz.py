"""A short run of `python -m tests.fuzz`: damaged pictures end as pictures or as stable codes."""

from tests.fuzz.campaign import fuzz
from tests.fuzz.mutations import case

COUNT = 400


async def test_damaged_pictures_end_as_pictures_or_stable_codes():
    outcome = await fuzz(COUNT, seed=7, processes=2)
    assert outcome.failures == []
    assert outcome.codes.total() == COUNT
    assert outcome.codes["succeeded"] > COUNT / 20
    assert outcome.codes["image_corrupt"] > COUNT / 20


def test_a_case_is_the_same_each_time():
    assert all(case(1, number) == case(1, number) for number in range(50))
