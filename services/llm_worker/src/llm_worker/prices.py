"""What a call of a model costs where its provider does not say so; the only module that imports genai_prices."""

from genai_prices import Usage, calc_price

from llm_worker.domain.provider import is_loopback


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
    if input_tokens is None or output_tokens is None or is_loopback(base_url):
        return None
    for provider_url in (base_url, None):
        try:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens)
            return float(calc_price(usage, model, provider_api_url=provider_url).total_price)
        except LookupError:
            continue
        except ValueError:  # more tokens cached than sent, and the like
            return None
    return None
