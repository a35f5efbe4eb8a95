"""When two requests ask for the same."""

import json
from hashlib import sha256

from shared.contracts.base import Contract


def digest_of(subject: str, request: Contract) -> str:
    """Return a digest that is equal for requests that say the same about a subject, in whatever order.

    The id that the run shall have is not part of it: a client may make a new one whenever it asks again.
    """
    asked = request.model_dump(mode="json", exclude_unset=True, exclude={"run_id"})
    canonical = json.dumps([subject, asked], sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()
