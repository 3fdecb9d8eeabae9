"""A store's figures in the text form that Prometheus reads."""

from collections.abc import Iterator, Mapping

from seqvault.vault.engine.latency import Latency

__all__ = ["prometheus"]

# Those that only grow while a store is open; the others are what is there now.
_COUNTERS = ("hot_hits", "hot_misses", "background_errors", "replayed_records", "durable_sequence")


def prometheus(stats: Mapping[str, int | float], store: str, latencies: Mapping[str, Latency]) -> str:
    """One metric a figure, `seqvault_NAME{store="..."} VALUE`; a histogram for each kind of operation.

    Args:
        stats: of SeqVault.stats.
        store: its label.
        latencies: by the operation's name.

    Source: prometheus.io, text-based format 0.0.4.
    """
    label = store.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, value in stats.items():
        lines += _figure(name, value, label, counter=name in _COUNTERS)
    for name, latency in latencies.items():
        lines += [*_histogram(f"seqvault_{name}_seconds", latency, label)]
        lines += _figure(f"{name}_errors", latency.errors, label, counter=True)
    return "\n".join(lines) + "\n"


def _figure(name: str, value: float, label: str, *, counter: bool) -> list[str]:
    full = f"seqvault_{name}_total" if counter else f"seqvault_{name}"
    kind = "counter" if counter else "gauge"
    return [f"# TYPE {full} {kind}", f'{full}{{store="{label}"}} {value}']


def _histogram(full: str, latency: Latency, label: str) -> Iterator[str]:
    yield f"# TYPE {full} histogram"
    buckets = latency.buckets()
    for bound_s, within in buckets:
        bound = "+Inf" if bound_s == float("inf") else f"{bound_s:.4g}"
        yield f'{full}_bucket{{store="{label}",le="{bound}"}} {within}'
    yield f'{full}_sum{{store="{label}"}} {latency.total_ns * 1e-9}'
    yield f'{full}_count{{store="{label}"}} {buckets[-1][1]}'
