"""A model server as it is configured, and what its base URL tells about it."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from llm_worker.domain.configured import Configured
from llm_worker.domain.profiles import PROFILES, ImageBudget, Profile, profile_for_host

WILDCARD = "*"


def _http_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ValueError("this is no address of the form https://host:port/v1")
    return address.rstrip("/")


def _known_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; known profiles: {', '.join(PROFILES)}")
    return name


class Limits(Configured):
    """How much may be asked of a provider, by all workers together; None is no limit.

    `concurrency` counts calls under way; besides, a worker has no more of them than jobs in hand. Tokens are those of
    the prompts and of the answers together.
    """

    concurrency: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)


class Provider(Configured):
    """An OpenAI-compatible model server.

    `base_url` ends in the version part (`https://api.openai.com/v1`). `api_key` is any non-empty text where the server
    wants none. `models` are the names that it is asked for, or their beginnings, followed by `*`. `profile` says what
    is special about it; without one it is told by the host. `images` are limits that differ from those of the profile.
    `timeout` is in seconds and bounds a whole call, from connecting to the last byte.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    profile: Annotated[str, AfterValidator(_known_profile)] | None = None
    base_url: Annotated[str, AfterValidator(_http_address)] = Field(repr=False)
    api_key: SecretStr = Field(default=SecretStr("none"), min_length=1)
    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    timeout: float = Field(default=120, gt=0)
    limits: Limits = Limits()
    images: ImageBudget | None = None

    @property
    def traits(self) -> Profile:
        """What is special about the server."""
        return PROFILES[self.profile] if self.profile else profile_for_host(_host(self.base_url))

    @property
    def image_budget(self) -> ImageBudget:
        """What a call may carry of pictures."""
        own = self.images.model_dump(exclude_unset=True) if self.images else {}
        return self.traits.images.model_copy(update=own)

    def takes(self, model: str) -> int:
        """Return how many characters of a model's name are known here: 0 is not taken, more is a better match."""
        return max((_match(pattern, model) for pattern in self.models), default=0)


def _match(pattern: str, model: str) -> int:
    """Return 0, or one more than the characters that a pattern names; an exact name counts for one more still."""
    if pattern == model:
        return len(model) + 2
    begins = pattern.endswith(WILDCARD) and model.startswith(pattern.removesuffix(WILDCARD))
    return len(pattern) if begins else 0


def is_loopback(base_url: str) -> bool:
    """Say whether a server runs on this machine, so that no proxy must stand between."""
    host = _host(base_url)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def printable_address(base_url: str) -> str:
    """Return a base URL without the user name, password and query that it may carry."""
    parts = urlsplit(base_url)
    location = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{location}{parts.path}"


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or ""
    except ValueError:
        return ""
