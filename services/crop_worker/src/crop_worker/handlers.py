"""From a crop job to its outcome."""

from crop_worker.body import crop_bytes
from shared.contracts.crop_params import CropImageParams
from shared.contracts.values import ImageValue
from shared.threads import run_in_thread
from shared.worker import Job, Outcome, Succeeded


async def crop_image(job: Job[CropImageParams]) -> Outcome:
    """Return the cropped picture, by reference. Raises the errors of pictures and of the asset store."""
    data = await job.assets.get(job.inputs.image("image"))
    cropped, info = await run_in_thread(crop_bytes, data, job.params)
    return Succeeded(ImageValue(asset=await job.assets.put_image(cropped, info)))
