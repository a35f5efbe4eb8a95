"""What Weft is measured beside. Nothing is imported here: a peer's own module runs where only its packages are."""
