"""What events tell about runs and nodes, whatever the order and however often they come."""
