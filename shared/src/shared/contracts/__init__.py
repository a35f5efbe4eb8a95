"""What goes over the wire and what it means: graphs, node types, messages, states, errors.

Everything here is pure: no I/O, no clock, no randomness. Services and their domains may import it.
"""
