"""python -m llm_worker."""

from llm_worker.main import main

main()
