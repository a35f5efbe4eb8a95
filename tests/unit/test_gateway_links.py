"""Links to pictures: who has one may follow it for a while, and change nothing in it."""

from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.domain.ranges import wanted_range
from gateway.links import MAX_SECONDS, Links
from gateway.pictures import PictureSize
from shared.contracts.errors import InvalidInputError

NAME = f"{64 * 'a'}.png"
NOW = 1_000_000_000


def parts(link):
    url = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(url.query, strict_parsing=True).items()}
    return url.path.rpartition("/")[2], PictureSize(query["size"]), int(query["expires"]), query["signature"]


def links(*secrets, now=NOW):
    return Links(secrets or ("one",), now=lambda: now)


def test_a_link_works_for_ten_minutes_at_least_and_fifteen_at_most():
    for second in range(NOW, NOW + 600, 7):
        left = links(now=second).check(*parts(links(now=second).sign(NAME, PictureSize.FULL)))
        assert 600 <= left <= MAX_SECONDS


def test_links_of_the_same_minutes_are_the_same_so_that_caches_know_them_again():
    assert links(now=NOW // 300 * 300).sign(NAME, PictureSize.FULL) == links(now=NOW // 300 * 300 + 299).sign(
        NAME, PictureSize.FULL
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda name, size, expires, signature: (name.replace("a", "b"), size, expires, signature),
        lambda name, size, expires, signature: (name, PictureSize.ORIGINAL, expires, signature),
        lambda name, size, expires, signature: (name, size, expires + 1, signature),
        lambda name, size, expires, signature: (name, size, expires, signature[:-1]),
        lambda name, size, expires, signature: (name, size, expires, ""),
    ],
)
def test_a_link_that_was_changed_does_not_work(change):
    with pytest.raises(InvalidInputError, match="link_not_valid"):
        links().check(*change(*parts(links().sign(NAME, PictureSize.FULL))))


def test_a_link_that_has_expired_or_works_too_long_does_not_work():
    link = parts(links().sign(NAME, PictureSize.FULL))
    for now in (link[2], link[2] - MAX_SECONDS - 1):
        with pytest.raises(InvalidInputError, match="link_not_valid"):
            links(now=now).check(*link)


def test_secrets_are_changed_without_breaking_links():
    link = parts(links("old").sign(NAME, PictureSize.FULL))
    assert links("new", "old").check(*link) > 0
    with pytest.raises(InvalidInputError, match="link_not_valid"):
        links("new").check(*link)
    assert parts(links("new", "old").sign(NAME, PictureSize.FULL)) == parts(links("new").sign(NAME, PictureSize.FULL))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=5-1", None),
        ("bytes=-", None),
        ("lines=0-9", None),
        ("nonsense", None),
    ],
)
def test_the_part_that_is_wanted(header, wanted):
    assert wanted_range(header, 100) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_part_that_is_not_there(header):
    with pytest.raises(ValueError, match="no such part"):
        wanted_range(header, 100)
