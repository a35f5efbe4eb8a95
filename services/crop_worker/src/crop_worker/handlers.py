"""From a crop job to its outcome."""

from crop_worker.body import crop_bytes
from shared.assets import AssetStore
from shared.contracts.commands import NodeExecute
from shared.contracts.errors import invalid
from shared.contracts.node_types import CropImageParams
from shared.contracts.values import AssetRef, ImageValue
from shared.threads import run_in_thread
from shared.worker import Outcome, Succeeded


class CropHandler:
    """Executes `crop_image` jobs; the picture is decoded, cropped and encoded in a thread."""

    def __init__(self, assets: AssetStore) -> None:
        self._assets = assets

    async def execute(self, job: NodeExecute) -> Outcome:
        """Return the cropped picture, by reference. Raises the errors of pictures and of the asset store."""
        params = CropImageParams.model_validate(job.params)
        data = await self._assets.get(_picture(job))
        cropped, info = await run_in_thread(crop_bytes, data, params)
        return Succeeded(ImageValue(asset=await self._assets.put_image(cropped, info)))


def _picture(job: NodeExecute) -> AssetRef:
    for brought in job.inputs.get("image", ()):
        if isinstance(brought.value, ImageValue):
            return brought.value.asset
    raise invalid("missing_input", "no picture came with the job", node_id=job.node_id)
