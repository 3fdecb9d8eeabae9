"""Write docs/store-benchmarks.md from the saved results: every figure on it comes from a file in results/.

    python benchmarks/pages/stores.py

Save results with `python benchmarks/stores/reads.py --out benchmarks/results/store_reads.json` and so on.
"""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.pages.layout import RESULTS, ROOT
from benchmarks.result import falls_short
from benchmarks.stores.harness.generator import REFERENCE
from benchmarks.stores.harness.ratios import ratio

PAGE = ROOT / "docs" / "store-benchmarks.md"
NAMES = (
    "store_reads",
    "store_hot",
    "store_disk",
    "store_writes",
    "store_scale",
    "store_transport",
    "store_charge",
    "store_rivals",
)
NS = ("200", "1k", "10k", "full")
REGIMES = {
    "warm": "page cache",
    "16 users": "a call, page cache; MultiGet in B and H",
    "cold": "O_DIRECT, wall time is the device's",
}
# What SeqVault's blocks are read beside: rivals as they are deployed, then its own blocks in other engines.
BESIDE = {
    "packed": ("C", "C=", "C*", "B", "B=", "B*", "A", "A=", "A*", "H", "H="),
    "packed, kernel": ("packed in RocksDB", "packed in LMDB"),
}
Row = dict[str, Any]


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers in three digits."""
    text = ["|" + "|".join(head) + "|", "|" + "---|" * len(head)]
    text += ["|" + "|".join(_cell(value) for value in line) + "|" for line in lines]
    return "\n".join(text) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def middle(rows: list[Row], metric: str, **which: object) -> float | None:
    """Median over rounds of a metric of the matching rows."""
    found = [
        row[metric]
        for row in rows
        if row.get(metric) is not None and all(row.get(key) == value for key, value in which.items())
    ]
    return float(median(found)) if found else None


def engines_of(rows: list[Row], **which: object) -> list[str]:
    """Names of the measured engines, in order of first appearance by name."""
    found = {
        row["engine"]
        for row in rows
        if "round" in row and all(row.get(key) == value for key, value in which.items())
    }
    return sorted(found)


def of_bars(results: dict[str, Row]) -> str:
    """Every bar, what was measured against it, and whether it is met."""
    lines = []
    for name, result in results.items():
        for entry in result["bars"]:
            sign = "≥" if entry["better"] == "higher" else "≤"
            verdict = "falls short" if falls_short(entry) else "met"
            if entry["value"] is None:
                verdict = "not measured"
            elif entry["stretch"] is not None and not falls_short({**entry, "bar": entry["stretch"]}):
                verdict = "met, stretch too"
            stretch = None if entry["stretch"] is None else f"{sign} {entry['stretch']}"
            lines.append([name, entry["name"], entry["value"], f"{sign} {entry['bar']}", stretch, verdict])
    return table(["script", "bar", "measured", "bar", "stretch", ""], lines)


def of_limits(rows: list[Row]) -> str:
    """What stands between the reads and the bars they miss."""

    def over(above: float | None, below: float | None) -> str:
        return "?" if above is None or below is None else _cell(above / below)

    def gain(n: str) -> str:
        a, floor = (middle(rows, "wall_p99_us", regime="cold", engine=e, n=n) for e in ("A", "floor"))
        return over(a, floor)

    def nanoseconds(engine: str) -> str:
        which = {"regime": "warm", "engine": engine, "n": "full"}
        cost, count = (middle(rows, metric, **which) for metric in ("cpu_mean_us", "rows_mean"))
        return over(None if cost is None else 1e3 * cost, count)

    one, two = (middle(rows, "per_s", measure="threads", n="1k", users_a_call=16, threads=t) for t in (1, 2))
    threads = over(two, one)
    return f"""
What limits, where a bar or a stretch is missed:

- **Short reads, warm.** The call from Python and back. It was halved by prepared reads (`read_last` is in
  the table below); with a newest block of 2,048 instead of 4,096 a third of the rest went. Code and scratch
  come from far away after other engines' reads: alone, the same reads take half as long. Scratch on huge
  pages changed nothing.
- **Long reads, warm.** Decoding five columns, 1.3 ns per row: about one value per cycle, for values come one
  by one out of tables and running sums. Sums of four values at once, in one pass with unpacking, gained 4 %,
  tables of two bytes instead of eight 2 %, and were not worth their code; the odd block laid behind the
  others gained 17 % at 10,000.
- **Against the floor.** It reads fewer bytes than where its bar was set (4.9 for 6.2 per behaviour) and
  allocates nothing, so that it costs half of what it did there.
- **Cold P99.** The device: the floor's own P99 is {gain("200")}, {gain("1k")}, {gain("10k")} and
  {gain("full")} times less than A's at the four n. Nothing that reads these bytes can gain more.
- **zstd against libzstd.** Frames hold low bytes alone, the rest is packed. Decompressing costs
  {nanoseconds("libzstd")} ns per behaviour and the whole read {nanoseconds("zstd")}, where the bar was set
  with 14.5 and 16.4.
- **Two threads.** Python's lock around each call. With sixteen users per call two threads read {threads}
  times as much as one.
- **Hot tier at 200.** The call from Python, the same at every length, against one in C++ on a core of its
  own; `hot.py` says what was tried.
- **P99 of reads beside a writer.** The same lock, and two cores for a reader, a writer and a compaction.
"""


def of_beside(rows: list[Row]) -> str:
    """How many times the CPU of SeqVault's blocks each rival takes."""
    lines = [
        [regime, rival, own, *times]
        for regime in ("warm", "16 users")
        for own, others in BESIDE.items()
        for rival in others
        if any(times := [ratio(rows, "cpu_mean_us", rival, own, regime=regime, n=n) for n in NS])
    ]
    return "\nCPU of a rival's read over that of SeqVault's blocks; below 1 the rival is faster:\n\n" + table(
        ["regime", "rival", "over", *NS], lines
    )


def of_reads(rows: list[Row]) -> str:
    """Reads beside SeqVault's, of each regime, and throughput by threads."""
    text = [of_beside(rows)]
    for regime, what in REGIMES.items():
        engines = engines_of(rows, regime=regime)
        if not engines:
            continue
        text.append(f"\n**{regime}** ({what}); wall P50 / P99 and mean CPU of a read, µs\n")
        lines = []
        for engine in engines:
            cells: list[object] = [engine]
            for n in NS:
                which = {"regime": regime, "engine": engine, "n": n}
                wall = [middle(rows, f"wall_p{q}_us", **which) for q in (50, 99)]
                cpu = middle(rows, "cpu_mean_us", **which)
                cells.append(None if cpu is None else f"{_cell(wall[0])} / {_cell(wall[1])}, {_cell(cpu)}")
            lines.append(cells)
        text.append(table(["engine", *NS], lines))
    threads = [
        [n, u, *(middle(rows, "per_s", measure="threads", n=n, users_a_call=u, threads=t) for t in (1, 2))]
        for n, u in (("1k", 1), ("10k", 1), ("1k", 16))
    ]
    return (
        "\n".join(text)
        + "\nHistories read in a second by threads of one process:\n\n"
        + table(["n", "users per call", "1 thread", "2 threads"], threads)
    )


def of_disk(rows: list[Row]) -> str:
    """Bytes per behaviour, by data and engine."""
    data = list(dict.fromkeys(row["data"] for row in rows))
    engines = list(dict.fromkeys(row["engine"] for row in rows if row.get("value") is not None))
    values = {(row["data"], row.get("engine")): row.get("value") for row in rows}
    return table(["bytes per behaviour", *data], [[e, *(values.get((d, e)) for d in data)] for e in engines])


def of_writes(rows: list[Row]) -> str:
    """Costs of writing, synced appends, recovery, reads beside writes."""
    metrics = ("cpu_us", "settled_cpu_us", "million_per_s", "bytes_per_behaviour")
    lines = [
        [engine, *(middle(rows, m, measure="write", engine=engine) for m in metrics)]
        for engine in engines_of(rows, measure="write")
    ]
    text = table(["engine", "CPU µs until accepted", "until settled", "million/s", "bytes written"], lines)
    text += _steady(rows)
    synced = [row for row in rows if row.get("measure") == "synced append"]
    text += "\nSynced appends, wall µs:\n\n" + table(
        ["batch", "engine", "P50", "P99", "appends"],
        [[r["batch"], r["engine"], r["wall_p50_us"], r["wall_p99_us"], r["appends"]] for r in synced],
    )
    crash = {"measure": "open after crash"}
    behaviours, open_s = middle(rows, "behaviours", **crash), middle(rows, "open_s", **crash)
    if open_s is not None:
        text += f"\nOpening after a killed writer of {_cell(behaviours)} behaviours, of which "
        text += f"{_cell(middle(rows, 'unsealed', **crash))} lay in the log: {_cell(open_s)} s.\n"
    lines = [
        [s, *(middle(rows, f"wall_p{q}_us", measure="reads while writing", engine=s) for q in (50, 99))]
        for s in ("idle", "writing")
    ]
    return text + "\nReads of the newest 1,000, wall µs:\n\n" + table(["", "P50", "P99"], lines)


def _steady(rows: list[Row]) -> str:
    metrics = ("cpu_us", "settled_cpu_us", "bytes_per_behaviour", "disk_bytes_per_behaviour", "read_cpu_us")
    lines = [
        [engine, *(middle(rows, m, measure="steady", engine=engine) for m in metrics)]
        for engine in engines_of(rows, measure="steady")
    ]
    if not lines:
        return ""
    head = [
        "engine",
        "CPU µs until accepted",
        "until settled",
        "bytes written",
        "on disk",
        "newest 1,000, CPU µs",
    ]
    return (
        "\nSteady state: a behaviour of the stream's second half, from settled to settled, with equal "
        "buffers, and the newest 1,000 read in the state that it left:\n\n" + table(head, lines)
    )


def of_hot(rows: list[Row]) -> str:
    """The hot tier beside blobs in a cache of as many bytes: mean CPU of a read."""
    lines = []
    for room in dict.fromkeys(row["room"] for row in rows if "room" in row):
        for engine in engines_of(rows, room=room):
            cpu = [middle(rows, "cpu_mean_us", room=room, engine=engine, n=n) for n in NS[:3]]
            lines.append([room, engine, *cpu])
    return table(["room for", "engine", *NS[:3]], lines)


def of_scale(rows: list[Row]) -> str:
    """Reads and memory by number of users."""
    lines = []
    for users in dict.fromkeys(row["users"] for row in rows if "users" in row and "round" in row):
        for engine in engines_of(rows, users=users):
            which = {"users": users, "engine": engine}
            lines.append(
                [
                    users,
                    engine,
                    middle(rows, "cpu_mean_us", **which),
                    middle(rows, "wall_p99_us", **which),
                    middle(rows, "bytes_per_user", **which),
                ]
            )
    text = table(["users", "engine", "CPU per read, µs", "wall P99, µs", "index bytes per user"], lines)
    long = [row for row in rows if "behaviours_per_user" in row]
    return (
        text
        + "\nUsers of 10,000 behaviours:\n\n"
        + table(
            ["users", "blocks", "index bytes", "process growth, bytes", "bytes per user (the higher)"],
            [
                [r["users"], r["blocks"], r["index_bytes"], r["resident_growth_bytes"], r["bytes_per_user"]]
                for r in long
            ],
        )
    )


def of_transport(rows: list[Row]) -> str:
    """Bytes and time of each way."""
    lines = []
    for n in dict.fromkeys(row["n"] for row in rows):
        for way in dict.fromkeys(row["engine"] for row in rows if "engine" in row):
            which = {"n": n, "engine": way}
            metrics = ("bytes", "cpu_mean_us", "wall_mean_us")
            lines.append([n, way, *(middle(rows, m, **which) for m in metrics)])
    return table(["n a sequence", "frames", "bytes", "CPU µs", "wall µs"], lines)


def of_charge(rows: list[Row]) -> str:
    """The charge beside C++ and the call."""
    lines = []
    for layout in dict.fromkeys(row["layout"] for row in rows if "round" in row):
        for regime in ("warm", "cached"):
            cells: list[object] = [layout, regime]
            for n in NS:
                which = {"layout": layout, "regime": regime, "n": n}
                three = (middle(rows, f"{m}_p50_us", **which) for m in ("charged", "cpp", "call"))
                cells.append(" / ".join(_cell(value) for value in three))
            lines.append(cells)
    return table(["layout", "block cache", *NS], lines)


def of_rivals(rows: list[Row]) -> str:
    """The tunings that were tried."""
    lines = [
        [
            *(row[key] for key in ("layout", "tuning", "bytes_per_behaviour")),
            *(row[f"cpu_us_{n}"] for n in NS),
            *(row[f"cold_us_{n}"] for n in NS),
        ]
        for row in rows
        if "tuning" in row
    ]
    head = ["layout", "tuning", "bytes", *(f"CPU {n}" for n in NS), *(f"cold {n}" for n in NS)]
    return table(head, lines)


SECTIONS = {
    "store_reads": ("Reads", of_reads),
    "store_hot": ("Hot tier and cached blobs, as many bytes of DRAM; mean CPU of a read, µs", of_hot),
    "store_disk": ("Disk", of_disk),
    "store_writes": ("Writes", of_writes),
    "store_scale": ("Scale", of_scale),
    "store_transport": ("Transport", of_transport),
    "store_charge": ("What the simulation charges LastN: charge / C++ / Python call, P50 µs", of_charge),
    "store_rivals": ("Tunings of the rival that were tried: warm CPU and cold wall, mean µs", of_rivals),
}


def page(results: dict[str, Row]) -> str:
    """The whole page."""
    text = [
        "# Store benchmarks\n",
        "Written by `make bench-page` from the files in benchmarks/results; each script's docstring says "
        "what it does. Medians over rounds. A, B, C, H: RocksDB from C++ with one key per behaviour, one "
        "blob per user, chunks of 256, and such chunks with a head per user (A*, B*, C*: with 2 GB of block "
        "cache; A=, B=, C=, H=: with as much as SeqVault has in DRAM). packed, zstd: SeqVault's tiers; tail: "
        "its newest 200 from DRAM. packed in RocksDB, packed in LMDB: SeqVault's blocks as values of these "
        "engines, under its decoder; beside them packed, kernel: its compiled read without the Python around "
        "it. floor: a bare pread of the same bytes and a memcpy of the output; libzstd: a bare pread and the "
        "decompression.\n",
    ]
    for name, result in results.items():
        machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items() if value is not None)
        quick = ", **quick form**" if result["quick"] else ""
        text.append(f"- `{name}`: commit {result['commit']}, seed {result['seed']}, {machine}{quick}")
    versions = next(iter(results.values()))["versions"]
    text.append("\nVersions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
    text.append("## Bars\n\n" + of_bars(results))
    if "store_reads" in results:
        text.append(of_limits(results["store_reads"]["rows"]))
    for name, result in results.items():
        title, section = SECTIONS[name]
        text.append(f"## {title}\n\n{section(result['rows'])}")
        text += [_missing(row) for row in result["rows"] if row.get("reason")]
    drawn = [row for row in results.get("store_reads", {"rows": []})["rows"] if row.get("data")]
    if drawn:
        lines = [[key, drawn[0].get(key), value] for key, value in REFERENCE.items()]
        text.append("## The synthetic data\n\n" + table(["", "here", "where the bars were set"], lines))
    return "\n".join(text) + "\n"


def _missing(row: Row) -> str:
    what = ", ".join(str(row[key]) for key in ("data", "engine", "measure") if key in row)
    return f"Not measured: {what}: {row['reason']}\n"


def main() -> None:
    """Read what is saved, write the page."""
    saved = {name: RESULTS / f"{name}.json" for name in NAMES}
    results = {name: json.loads(file.read_text()) for name, file in saved.items() if file.exists()}
    if not results:
        raise SystemExit(f"{RESULTS} holds no store results: run the scripts with --out first")
    PAGE.write_text(page(results))
    print(f"{PAGE}: {', '.join(results)}")


if __name__ == "__main__":
    main()
