"""The llm_worker service."""
