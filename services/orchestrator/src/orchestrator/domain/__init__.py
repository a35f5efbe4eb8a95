"""What happens next in a run: a pure core without clock, I/O or randomness."""
