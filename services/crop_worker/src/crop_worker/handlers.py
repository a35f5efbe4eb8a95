"""From a crop job to its outcome."""

from functools import partial

from crop_worker.body import crop_picture
from shared.contracts.crop_params import CropImageParams
from shared.contracts.values import ImageValue
from shared.decoding import DecoderPool
from shared.worker import Job, Outcome, Succeeded


class Cropper:
    """Does crop jobs in the processes of a pool."""

    def __init__(self, pool: DecoderPool) -> None:
        self._pool = pool

    async def crop_image(self, job: Job[CropImageParams]) -> Outcome:
        """Return the cropped picture, by reference.

        Raises the errors of pictures, of limits and of the asset store. A job that is cancelled has its process killed.
        """
        data = await job.assets.get(job.inputs.image("image"))
        picture = await self._pool.run(partial(crop_picture, params=job.params), data)
        asset = await job.assets.put_image(picture.data, picture.info)
        return Succeeded(ImageValue(asset=asset), warnings=picture.warnings)
