"""What goes out of the HTTP API about pictures."""

from shared.contracts.base import Contract
from shared.contracts.values import AssetRef


class UploadView(Contract):
    """An uploaded picture; the same bytes always get the same reference. The link works for 10 to 15 minutes."""

    asset: AssetRef
    url: str
    thumbnail_url: str


class AssetView(Contract):
    """A picture that a node gave, with links to it that work for 10 to 15 minutes."""

    node_id: str
    asset: AssetRef
    url: str
    thumbnail_url: str


class AssetList(Contract):
    """The pictures of a run, in the order of its nodes."""

    assets: tuple[AssetView, ...]
