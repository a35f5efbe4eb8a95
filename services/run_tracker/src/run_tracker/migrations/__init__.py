"""Migrations of the schema run_tracker."""
