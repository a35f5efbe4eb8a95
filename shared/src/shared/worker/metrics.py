"""What is measured of jobs."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.telemetry.metrics import SECONDS


class JobMetrics:
    """The metrics of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by_type = ["node_type"]
        self._seconds = Histogram(
            "weft_node_seconds",
            "Time that an attempt at a node took in its worker",
            ["node_type", "outcome"],
            buckets=SECONDS,
            registry=registry,
        )
        self._waits = Histogram(
            "weft_node_queue_wait_seconds",
            "Time between the sending of a job and its beginning",
            by_type,
            buckets=SECONDS,
            registry=registry,
        )
        self._in_hand = Gauge(
            "weft_jobs_in_hand", "Jobs that were taken and not acknowledged yet", by_type, registry=registry
        )
        self._stopped = Counter(
            "weft_jobs_abandoned", "Jobs that were stopped before their end", by_type, registry=registry
        )

    def in_hand(self, node_type: str) -> Gauge:
        """Return what counts the jobs in hand."""
        return self._in_hand.labels(node_type)

    def begun(self, node_type: str, sent: datetime | None) -> None:
        """Note that a job begins now that was sent at a time, by the clock of who sent it."""
        if sent:
            self._waits.labels(node_type).observe(max(0.0, (datetime.now(UTC) - sent).total_seconds()))

    def ended(self, node_type: str, outcome: str, seconds: float) -> None:
        """Note what came of a job, and what it took."""
        self._seconds.labels(node_type, outcome).observe(seconds)

    def abandoned(self, node_type: str) -> None:
        """Note that a job was stopped."""
        self._stopped.labels(node_type).inc()
