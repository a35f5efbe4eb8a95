"""What operators see of a service: metrics, traces, and the lines of its log."""
