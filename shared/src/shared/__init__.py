"""What all services share: contracts, topology, settings, messaging."""
