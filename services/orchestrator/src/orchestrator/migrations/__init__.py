"""Migrations of the schema orchestrator."""
