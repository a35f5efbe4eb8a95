"""The crop_worker service."""
