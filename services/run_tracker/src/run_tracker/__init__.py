"""The run_tracker service."""
