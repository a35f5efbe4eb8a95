"""What a call costs by list price, as far as anybody knows it."""

import pytest

from llm_worker.prices import list_price

OPENAI = "https://api.openai.com/v1"
PROXY = "https://models.example.org/v1"


def price(model: str, base_url: str = OPENAI, sent: int | None = 1_000_000, got: int | None = 0, cached: int = 0):
    return list_price(model, base_url, input_tokens=sent, output_tokens=got, cached_tokens=cached)


def test_a_known_model_has_its_providers_price():
    assert price("gpt-4o-mini-2024-07-18") == pytest.approx(0.15)
    assert price("gpt-4o-mini", sent=0, got=1_000_000) == pytest.approx(0.60)


def test_cached_tokens_are_part_of_those_sent_and_cheaper():
    assert price("gpt-4o-mini", cached=1_000_000) == pytest.approx(0.075)


def test_behind_a_proxy_the_models_name_tells_the_price():
    assert price("gpt-4o-mini", PROXY) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("model", "base_url"),
    [("no-such-model", OPENAI), ("no-such-model", PROXY), ("gpt-4o-mini", "http://127.0.0.1:11434/v1")],
)
def test_the_price_of_an_unknown_model_and_of_a_local_server_is_unknown_and_not_zero(model: str, base_url: str):
    assert price(model, base_url) is None


@pytest.mark.parametrize(("sent", "got", "cached"), [(None, 5, 0), (5, None, 0), (-1, 5, 0), (5, 5, 6)])
def test_counts_that_are_missing_or_make_no_sense_give_no_price(sent: int | None, got: int | None, cached: int):
    assert price("gpt-4o-mini", sent=sent, got=got, cached=cached) is None
