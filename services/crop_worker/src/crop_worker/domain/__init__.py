"""What cropping means; pure."""
