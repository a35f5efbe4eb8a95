"""What is measured: one module a load, or one for those that every side is given in the same way."""
