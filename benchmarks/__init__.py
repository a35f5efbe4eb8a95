"""Measures Weft beside its peers, on one machine, in one command."""
