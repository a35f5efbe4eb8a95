"""Migrations of the schema llm_worker."""
