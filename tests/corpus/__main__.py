"""python -m tests.corpus FOLDER: write all files of the corpus into a folder."""

import sys
from pathlib import Path

from tests.corpus import CORPUS


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for specimen in CORPUS.values():
        (folder / specimen.name).write_bytes(specimen.data)
    print(f"{len(CORPUS)} files in {folder}")  # noqa: T201


main()
