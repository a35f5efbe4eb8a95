"""python -m crop_worker."""

from crop_worker.main import main

main()
