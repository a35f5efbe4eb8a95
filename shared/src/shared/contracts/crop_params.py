"""The params of `crop_image`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.contracts.node_type import Params

PERCENT_TOLERANCE = 1e-6


class CropImageParams(Params):
    """A box on the upright picture; percent of its sides, or pixels."""

    x: float = Field(default=0, ge=0)
    y: float = Field(default=0, ge=0)
    width: float = Field(default=100, gt=0)
    height: float = Field(default=100, gt=0)
    unit: Literal["percent", "px"] = "percent"

    @model_validator(mode="after")
    def _stay_inside(self) -> Self:
        limit = 100 + PERCENT_TOLERANCE
        if self.unit == "percent" and (self.x + self.width > limit or self.y + self.height > limit):
            raise ValueError("the box reaches outside the picture: x + width and y + height may be 100 at most")
        return self
