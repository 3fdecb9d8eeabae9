"""What `laser-ab store` prints for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seqvault.schema import SequenceType

if TYPE_CHECKING:
    from seqvault.vault.care.bench import ReadFigures
    from seqvault.vault.care.check import Report

# Of one file; the JSON has all.
_MOST_FINDINGS = 10


def stats_lines(sequences: Sequence[SequenceType], stats: Mapping[str, int | float]) -> list[str]:
    """The sequences, then every figure of a store on a line of its own."""
    lines = []
    for kind in sequences:
        limits = [
            f"{word} {limit:,}{unit}"
            for word, limit, unit in (("newest", kind.cap, ""), ("younger than", kind.ttl_s, " s"))
            if limit is not None
        ]
        kept = f"; keeps {', '.join(limits)}" if limits else ""
        columns = ", ".join(kind.schema.names)
        lines.append(
            f"sequence {kind.name}: {kind.schema.name} version {kind.schema.version} ({columns}){kept}"
        )
    if stats.get("behaviours"):
        stats = {**stats, "bytes_per_behaviour": stats["bytes_on_disk"] / stats["behaviours"]}
    return lines + [f"{name:<20} {_figure(value):>16}" for name, value in stats.items()]


def check_lines(report: "Report") -> list[str]:
    """Intact files, one per line; of damage, what was found, what is readable and how to mend it."""
    lines = [f"✓ {file.name:<28} {file.bytes:>15,} bytes  {file.holds}" for file in report.files]
    shown: Counter[str] = Counter()
    for finding in report.findings:
        shown[finding.file] += 1
        if shown[finding.file] > _MOST_FINDINGS:
            continue
        place = "" if finding.byte is None else f", byte {finding.byte:,}"
        lines += [f"✗ {finding.file}{place}: {finding.found}"]
        lines += [f"    readable  {finding.readable}", f"    mend      {finding.mend}"]
    for name, count in shown.items():
        if count > _MOST_FINDINGS:
            lines.append(f"✗ {name}: {count - _MOST_FINDINGS} findings more; --json lists all")
    lines += [f"· {note}" for note in report.notes]
    count = len(report.findings)
    lines.append(
        f"{count} finding{'s' if count != 1 else ''}: the store is damaged."
        if count
        else "The store is sound."
    )
    return lines


def print_figures(figures: Sequence["ReadFigures"]) -> None:
    """One line per read size."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from simulator.results.report import terminal

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("newest", "users", "returned", "P50 µs", "P99 µs", "CPU µs", "bytes read", "bytes out"):
        table.add_column(heading, justify="right")
    for one in figures:
        times = (one.wall_p50_us, one.wall_p99_us, one.cpu_us)
        table.add_row(
            "all" if one.n is None else f"{one.n:,}",
            f"{one.users:,}",
            f"{one.behaviours:,.0f}",
            *(f"{value:,.1f}" for value in times),
            *(f"{value:,.0f}" for value in (one.read_bytes, one.returned_bytes)),
        )
    terminal().print(table)
    print(
        "Warm, one user per read, one thread. Returned: behaviours per read. Bytes read: of the blocks "
        "touched."
    )


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
