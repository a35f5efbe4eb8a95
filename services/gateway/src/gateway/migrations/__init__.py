"""Migrations of the schema gateway."""
