"""The asset store: pictures by reference, in a local directory or in S3. Nothing else imports obstore."""

import hashlib
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from shared.contracts.errors import invalid, unavailable
from shared.contracts.values import AssetRef
from shared.images import ImageInfo
from shared.threads import run_in_thread

_PREFIX = "images"
_KEY = re.compile(_PREFIX + r"/([0-9a-f]{2})/(?P<digest>\1[0-9a-f]{62})\.[a-z]+")
# Short, because who asks tries again: a store that hangs must not hold a job for minutes.
_S3_TIMEOUT = timedelta(seconds=30)
_S3_CONNECT_TIMEOUT = timedelta(seconds=3)
_S3_RETRIES = 3


class AssetStore:
    """Keeps pictures under keys made from the SHA-256 of their bytes; safe to use from many tasks.

    obstore's blocking calls run in threads, because its async ones abort the process when the interpreter
    ends shortly after one of them (a race in pyo3-async-runtimes, issue 40).
    """

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the store at `file:///absolute/directory` (made if missing) or `s3://bucket/prefix`.

        S3's credentials, region and endpoint come from the usual `AWS_...` variables; it is not contacted
        here. Raises `invalid_assets_url`.
        """
        try:
            return cls(_open_store(url))
        except (BaseError, OSError, ValueError) as err:
            raise invalid(
                "invalid_assets_url",
                f"{url!r} is no place for pictures: {_first_line(err)}",
                where="WEFT_ASSETS_URL",
                fix="use file:///absolute/directory or s3://bucket/prefix",
            ) from err

    async def put_image(self, data: bytes, info: ImageInfo) -> AssetRef:
        """Keep the file and return its reference; what is already kept is not written again.

        The file is visible whole or not at all. Raises `asset_store_unavailable`.
        """
        return await run_in_thread(self.put_image_blocking, data, info)

    async def get(self, ref: AssetRef) -> bytes:
        """Return the file, its digest checked.

        Raises `input_missing` if it is gone, `asset_corrupt` if its bytes are not those that were kept,
        `invalid_asset_key` if no store gave this reference, and `asset_store_unavailable`.
        """
        return await run_in_thread(self.get_blocking, ref)

    async def check(self) -> None:
        """Return if the store can be used now; raise `asset_store_unavailable` if not."""
        await run_in_thread(self._check)

    def local_path(self, ref: AssetRef) -> Path | None:
        """Return where a local store keeps the file, whether it is there or not; None for other stores.

        Raises `invalid_asset_key`.
        """
        _digest_of(ref.key)
        root = self._local_root
        return root / ref.key if root else None

    @property
    def _local_root(self) -> Path | None:
        return self._store.prefix if isinstance(self._store, LocalStore) else None

    def put_image_blocking(self, data: bytes, info: ImageInfo) -> AssetRef:
        """Do as `put_image` does, for a function that runs in a thread."""
        digest = hashlib.sha256(data).hexdigest()
        key = f"{_PREFIX}/{digest[:2]}/{digest}.{info.extension}"
        with self._store_errors():
            if not self._holds(key, len(data)):
                # Local stores keep no attributes, and refuse them.
                attributes = None if self._local_root else {"Content-Type": info.media_type}
                self._store.put(key, data, attributes=attributes)
        return AssetRef(key=key, media_type=info.media_type, size=len(data), width=info.width, height=info.height)

    def _holds(self, key: str, size: int) -> bool:
        """Say whether the key is taken; a file that lost bytes does not count, so that it is replaced."""
        try:
            return self._store.head(key)["size"] == size
        except FileNotFoundError:
            return False

    def length_blocking(self, key: str) -> int | None:
        """Return the size in bytes of what is kept under a key; None if nothing is. For a thread."""
        with self._store_errors():
            try:
                return self._store.head(key)["size"]
            except FileNotFoundError:
                return None

    def read_blocking(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end` of what is kept under a key. For a thread."""
        with self._store_errors():
            return self._store.get_range(key, start=start, end=end).to_bytes()

    def put_derived_blocking(self, key: str, data: bytes) -> None:
        """Keep what was made of a picture, and can be made again, under a key of the caller's. For a thread."""
        with self._store_errors():
            self._store.put(key, data)

    def get_blocking(self, ref: AssetRef) -> bytes:
        """Do as `get` does, for a function that runs in a thread."""
        return self.get_key_blocking(ref.key)

    def get_key_blocking(self, key: str) -> bytes:
        """Do as `get` does, by key, for a function that runs in a thread."""
        digest = _digest_of(key)
        with self._store_errors():
            try:
                data = self._store.get(key).bytes().to_bytes()
            except FileNotFoundError as err:
                raise invalid(
                    "input_missing", "a picture is no longer in the store", where=key, fix="upload it again"
                ) from err
        if hashlib.sha256(data).hexdigest() != digest:
            raise invalid("asset_corrupt", "a stored picture was damaged", where=key, fix="upload it again")
        return data

    def _check(self) -> None:
        with self._store_errors():
            # One request, since there are 256 folders at most.
            self._store.list_with_delimiter(_PREFIX)  # pyright: ignore[reportUnknownMemberType]  # it names arro3's
            if self._local_root and not os.access(self._local_root, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError("the directory is missing, or may not be read and written")

    @contextmanager
    def _store_errors(self) -> Generator[None]:
        """Translate what the store raises inside to `asset_store_unavailable`."""
        try:
            yield
        except (BaseError, OSError) as err:
            raise unavailable(
                "asset_store_unavailable",
                f"the asset store cannot be used: {_first_line(err)}",
                where=repr(self._store),
                fix="see that WEFT_ASSETS_URL names a store that is up, has room and may be written",
            ) from err


def _open_store(url: str) -> LocalStore | S3Store:
    parts = urlsplit(url)
    if parts.scheme == "s3":
        # Without TLS only where AWS_ENDPOINT says http:// itself; these options replace AWS_ALLOW_HTTP.
        return S3Store.from_url(
            url,
            client_options={"allow_http": True, "timeout": _S3_TIMEOUT, "connect_timeout": _S3_CONNECT_TIMEOUT},
            retry_config={"max_retries": _S3_RETRIES, "retry_timeout": _S3_TIMEOUT},
        )
    if url.startswith("file:///") and parts.path.strip("/"):
        return LocalStore.from_url(url, mkdir=True)
    raise ValueError("it is neither the URL of a local directory nor of an S3 bucket")


def key_of_name(name: str) -> str:
    """Return the key of the picture with that file name: digest and extension; raise `invalid_asset_key`."""
    key = f"{_PREFIX}/{name[:2]}/{name}"
    _digest_of(key)
    return key


def _digest_of(key: str) -> str:
    match = _KEY.fullmatch(key)
    if match is None:
        raise invalid("invalid_asset_key", "this is not the key of a stored picture", where=key)
    return match["digest"]


def _first_line(err: Exception) -> str:
    """Return the message without the debugging details that obstore appends."""
    return next(iter(str(err).splitlines()), type(err).__name__)
