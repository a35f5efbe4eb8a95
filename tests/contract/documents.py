"""The published documents, as the code makes them; run as a module it writes them into docs/."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gateway.app import openapi_document
from shared import asyncapi
from shared.contracts.states import NODE_REVIVALS, NODE_TRANSITIONS, RUN_TRANSITIONS

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "asyncapi.json": asyncapi.document,
    "openapi.json": openapi_document,
}


STATE_MACHINE = "state-machine.md"
NAMES = (*DOCUMENTS, STATE_MACHINE)


def rendered(name: str) -> str:
    """Return a document as it is to be committed; keys sorted, so that equal content is equal text."""
    if name == STATE_MACHINE:
        return _state_machine()
    return json.dumps(DOCUMENTS[name](), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _state_machine() -> str:
    nodes, runs = _diagram(NODE_TRANSITIONS), _diagram(RUN_TRANSITIONS)
    revivals = _drawn(f"{status} --> {revived}: node.replay" for status, revived in NODE_REVIVALS.items())
    return f"""# States

Drawn from the tables in `shared.contracts.states` by `scripts/documents`. What has no way out is final.

## Nodes

{nodes}

While its run is open, a person may bring a failed node back (`node.replay`), and with it what was skipped because of it
alone: as another attempt, with the next number. To all others an end is final, and of a run it always is.

{revivals}

## Runs

{runs}
"""


def _diagram(transitions: Mapping[Any, frozenset[Any]]) -> str:
    arrows = [f"{status} --> {following}" for status, ways in transitions.items() for following in sorted(ways)]
    ends = [f"{status} --> [*]" for status, ways in transitions.items() if not ways]
    return _drawn([f"[*] --> {next(iter(transitions))}", *arrows, *ends])


def _drawn(arrows: Iterable[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {arrow}" for arrow in arrows), "```"])


def main() -> None:
    """Write all documents."""
    for name in NAMES:
        (DOCS / name).write_text(rendered(name))


if __name__ == "__main__":
    main()
