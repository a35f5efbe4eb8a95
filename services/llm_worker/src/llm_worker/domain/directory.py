"""Which provider is asked for a model; pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm_worker.domain.provider import Provider
from shared.contracts.errors import InvalidInputError, invalid


@dataclass(frozen=True, slots=True)
class Chosen:
    """A provider, and the name that it knows the model by."""

    provider: Provider
    model: str


class Directory:
    """The providers that are configured: at least one, each name once, no model pattern twice."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.providers = {provider.name: provider for provider in providers}
        _check_unique("name", [provider.name for provider in providers])
        _check_unique("model", [pattern for provider in providers for pattern in provider.models])

    def choose(self, name: str) -> Chosen:
        """Return who is asked for a model: `provider/model`, or a name that a provider takes.

        Of several providers that take a name, it is the one that names most of it. Raises `unknown_model`, with those
        that are known: no model is asked in place of another.
        """
        before, slash, rest = name.partition("/")
        if slash and (provider := self.providers.get(before)):
            if provider.takes(rest):
                return Chosen(provider, rest)
            raise self._unknown(name, [provider])
        best = max(self.providers.values(), key=lambda provider: provider.takes(name))
        if best.takes(name):
            return Chosen(best, name)
        raise self._unknown(name, list(self.providers.values()))

    def _unknown(self, name: str, providers: Sequence[Provider]) -> InvalidInputError:
        known = [f"{provider.name}/{pattern}" for provider in providers for pattern in provider.models]
        return invalid(
            "unknown_model",
            f"no provider has a model {name[:200]!r}",
            where="model",
            fix=f"known models: {', '.join(known)}",
        )


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or twice:
        raise invalid(
            "invalid_providers",
            f"the {what} {twice[0]!r} is there twice" if twice else "there is no provider",
            where="WEFT_LLM_PROVIDERS",
            fix=f"give each provider {what}s of its own" if twice else "name a provider, or set WEFT_LLM_BASE_URL",
        )
