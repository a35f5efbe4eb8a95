"""The published documents, as the code makes them; run as a module it writes them into docs/."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.app import openapi_document
from shared import asyncapi

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "asyncapi.json": asyncapi.document,
    "openapi.json": openapi_document,
}


def rendered(name: str) -> str:
    """Return a document as it is to be committed; keys sorted, so that equal content is equal text."""
    return json.dumps(DOCUMENTS[name](), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all documents."""
    for name in DOCUMENTS:
        (DOCS / name).write_text(rendered(name))


if __name__ == "__main__":
    main()
