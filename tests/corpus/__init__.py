"""Files that people, cameras and attackers send, built in code and the same each time; `python -m tests.corpus FOLDER`
writes them out."""

from collections.abc import Iterator, Mapping

from tests.corpus.accepted import accepted
from tests.corpus.refused import refused
from tests.corpus.specimen import Specimen


def _all() -> Iterator[Specimen]:
    yield from accepted()
    yield from refused()


CORPUS: Mapping[str, Specimen] = {specimen.name: specimen for specimen in _all()}
