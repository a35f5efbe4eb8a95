"""The registry of a service's metrics, and what metrics have in common (docs/telemetry.md lists them all)."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector

# From a confirm of the broker to a model that thinks.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
OTHER = "other"  # the label of whatever is not known beforehand: who calls must not be able to make new series


def new_registry(service: str) -> CollectorRegistry:
    """Return a metrics registry with the metrics of the process and of Python, and with what runs here."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    info = Gauge("weft_build_info", "What runs here; always 1", ["service", "version"], registry=registry)
    info.labels(service, version("weft-shared")).set(1)
    return registry
