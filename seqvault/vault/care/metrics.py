"""A store's figures in the text form that Prometheus reads."""

from collections.abc import Mapping

__all__ = ["prometheus"]

# Those that only grow while a store is open; the others are what is there now.
_COUNTERS = ("hot_hits", "hot_misses", "background_errors", "replayed_records", "durable_sequence")


def prometheus(stats: Mapping[str, int | float], store: str) -> str:
    """One metric a figure, `seqvault_NAME{store="..."} VALUE`.

    Args:
        stats: of SeqVault.stats.
        store: its label.

    Source: prometheus.io, text-based format 0.0.4.
    """
    label = store.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, value in stats.items():
        counter = name in _COUNTERS
        full = f"seqvault_{name}_total" if counter else f"seqvault_{name}"
        lines.append(f"# TYPE {full} {'counter' if counter else 'gauge'}")
        lines.append(f'{full}{{store="{label}"}} {value}')
    return "\n".join(lines) + "\n"
