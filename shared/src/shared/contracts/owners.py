"""Whose a run is."""

from typing import Annotated

from pydantic import Field

LOCAL_OWNER = "local"  # of the local stack's own key, and of what was there before there were owners

Owner = Annotated[
    str,
    Field(
        max_length=64,
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="whose it is: small letters, digits, dot, underscore and hyphen",
    ),
]
