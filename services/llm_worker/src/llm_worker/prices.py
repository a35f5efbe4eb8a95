"""What a call of a model costs where its provider does not say so; the only module that imports genai_prices."""

from importlib.metadata import version

from genai_prices import Usage as Counts
from genai_prices import calc_price
from genai_prices.types import PriceCalculation
from pydantic import JsonValue

from llm_worker.domain.provider import is_loopback
from shared.contracts.events import Usage


def list_price(
    model: str,
    base_url: str,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None = None,
) -> float | None:
    """Return the list price of a call in US dollars; None where it is not known, which is not the same as 0.

    `input_tokens` include the `cached_tokens`. The price is that of the provider at `base_url`; where no such
    provider is known, that of the model wherever it is sold, since proxies keep the names. A server on this machine
    has no list price. The prices are those that came with the package: nothing is fetched, and what a call is said to
    cost does not change afterwards.
    """
    if input_tokens is None or output_tokens is None:
        return None
    found = _calculate(model, base_url, input_tokens, output_tokens, cached_tokens)
    return float(found.total_price) if found else None


def frozen_price(usage: Usage, base_url: str) -> dict[str, JsonValue] | None:
    """Return where the cost of a call comes from, to be kept with it; None where the cost is not known.

    `source` is `list`, with the prices that the list has for the model, or `provider`, which told the cost itself.
    """
    if usage.cost is None:
        return None
    listed = list_price(
        usage.model,
        base_url,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
    )
    found = _calculate(usage.model, base_url, 0, 0) if listed == usage.cost else None
    if found is None:
        return {"source": "provider"}
    return {
        "source": "list",
        "prices": str(found.model_price),
        "model": f"{found.provider.id}/{found.model.id}",
        "list": f"genai-prices {version('genai-prices')}",
    }


def _calculate(
    model: str, base_url: str, sent: int, received: int, cached: int | None = None
) -> PriceCalculation | None:
    if is_loopback(base_url):
        return None
    for provider_url in (base_url, None):
        try:
            counts = Counts(input_tokens=sent, output_tokens=received, cache_read_tokens=cached)
            return calc_price(counts, model, provider_api_url=provider_url)
        except LookupError:
            continue
        except ValueError:  # less than no tokens, more cached than sent, and the like
            return None
    return None
