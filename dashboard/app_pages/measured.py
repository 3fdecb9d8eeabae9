"""Models and stores: what they cost and gain, as the project measured them, and this run's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import head, states
from dashboard.draw import chart, ink
from dashboard.folders import chosen, chosen_run
from dashboard.sections import measured_charts
from dashboard.words import plain
from simulator.results import numbers
from simulator.results.beside.measured import measured
from simulator.results.beside.profiles import SHIPPED, ProfileSummary, summary
from simulator.results.errors import ResultsError
from simulator.results.read import CONFIG, Run

# Of benchmarks/stores, in words.
ENGINES = {
    "packed": "SeqVault, packed",
    "zstd": "SeqVault, zstd",
    "tail": "SeqVault, newest 200 from memory",
    "A": "LastN, a key for each behaviour",
    "B": "LastN, a blob for each user",
    "C": "LastN, chunks of 256",
    "A*": "LastN, keys, 2 GB of block cache",
    "B*": "LastN, blobs, 2 GB of block cache",
    "C*": "LastN, chunks, 2 GB of block cache",
    "floor": "the same bytes, read and copied bare",
}
DATA = {"u4": "drawn, 4-byte ids", "u8": "drawn, 8-byte ids", "single": "one behaviour a user"}
# Models, as files name them, in words.
MODELS = {
    "din": "the recent history, weighed by the candidate",
    "sim": "search for what concerns the candidate, then attention over that",
    "twin": "the same, search and attention by one score",
    "transformer": "self-attention over the history",
    "hstu": "pointwise attention in place of softmax",
    "laser": "segments of the whole history become tokens that the candidate reads",
    "stca": "the candidate's attention over the history, layer on layer",
    "vista": "the history gathered into a few summaries that candidates read",
    "vql": "attention over quantised keys, kept for each user",
}
FIRST = ("packed", "zstd", "A", "B", "C")  # shown until others are chosen
JUDGED = ("model_study", "model_latency_cpu", "model_latency_h200")  # files the models' figures come from
READS = {"wall_p50_us": "P50", "wall_p99_us": "P99", "cpu_mean_us": "mean CPU"}
REGIMES = {"warm": "from the page cache", "cold": "from the device"}
PERCENTILES = ("P50", "P95", "P99")


def page() -> None:
    """Draw the page; most of it needs no run."""
    st.title("Models and stores")
    asked, run = chosen("run"), chosen_run()
    if run is not None:
        st.markdown(head.line(run))
        states.status(run)
        models_of(run)
    elif asked.name is not None:
        states.absent("run", asked.name)
    service_times(run)
    study()
    stores()


def models_of(run: Run) -> None:
    """How well the run's own models predict, on the held-out days."""
    models = run.manifest.get("models")
    st.subheader("The run's models")
    if not isinstance(models, dict) or not models:
        states.not_yet("Models", run)
        return
    rows = [_model(name, found) for name, found in models.items()]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        "On the log's held-out days. GAUC is the AUC within users, calibration the clicks predicted over "
        "those that came; the last column replaces clicks by their true probabilities, which only a "
        "simulation knows."
    )


def _model(name: str, found: Mapping[str, Any]) -> dict[str, str]:
    def four(key: str) -> str:
        value = found.get(key)
        return numbers.MISSING if value is None else f"{value:.4f}"

    low, high = found.get("pcoc_low"), found.get("pcoc_high")
    ends = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return {
        "Model": name.rpartition("-")[0] or name,
        "AUC": four("auc"),
        "GAUC": four("gauc"),
        "Log loss": four("log_loss"),
        "Calibration": four("pcoc") + ends,
        "AUC by true probabilities": four("truth_weighted_auc"),
    }


def service_times(run: Run | None) -> None:
    """What a read and a score take on a machine, by length of the history."""
    st.subheader("Service times")
    files = {path.stem: path for path in sorted(SHIPPED.glob("*.json"))}
    own = _profile_of(run)
    if own is not None and own not in files.values():
        files = {f"{own.stem} (this run's)": own, **files}
    names = list(files)
    first = next((name for name, path in files.items() if path == own), names[0])
    name = str(
        st.segmented_control(
            "Profile", names, default=first, required=True, key="profile", bind="query-params",
            help="The run's own comes first; cpu, h100 and h200 come with the package.",
        )
    )  # fmt: skip
    try:
        profile = _summary(str(files[name]), files[name].stat().st_mtime_ns if files[name].is_file() else 0)
    except ResultsError as error:
        states.problem(error)
        return
    st.caption(
        f"Measured on {plain(profile.machine)}, {plain(profile.date)}, commit {plain(profile.commit)}."
    )
    rows = pd.DataFrame(profile.rows)
    scores = rows[rows["stage"] == "score"]
    columns = st.columns(3)
    percentile = str(
        columns[0].segmented_control(
            "Percentile", PERCENTILES, default="P50", required=True, key="percentile_of", bind="query-params"
        )
    )
    candidates = _option(columns[1], "Candidates", scores["candidates"], "candidates")
    batch = _option(columns[2], "Requests in a batch", scores["batch"], "batch")
    scores = scores[(scores["candidates"] == candidates) & (scores["batch"] == batch)]
    _times(scores, percentile, "Scoring a batch")
    st.caption(
        "After the stroke stands the width: din/16 works with vectors of 16 numbers. base reads no history, "
        "so it has one point, at the left. "
        + "; ".join(f"*{name}*: {what}" for name, what in MODELS.items())
        + "."
    )
    reads = rows[rows["stage"] != "score"].assign(what=lambda frame: frame["what"].replace("", "transport"))
    _times(reads, percentile, "Reading a history, and sending it")
    if profile.notes:
        with st.expander(f"What was done to the samples afterwards ({len(profile.notes)})"):
            st.text("\n".join(profile.notes))


def _option(column: Any, label: str, values: pd.Series[Any], key: str) -> int:
    options = sorted({int(value) for value in values})
    middle = options[len(options) // 2] if key == "candidates" else options[0]
    return int(column.selectbox(label, options, index=options.index(middle), key=key, bind="query-params"))


def _times(rows: pd.DataFrame, percentile: str, title: str) -> None:
    if rows.empty:
        st.caption("Not measured at these candidates and this batch. Choose others.")
        return
    column = f"{percentile.lower()}_ms"
    texts = [
        f"P50 {numbers.ms(row['p50_ms'])}, P95 {numbers.ms(row['p95_ms'])}, P99 {numbers.ms(row['p99_ms'])}, "
        f"n = {numbers.count(row['samples'])}"
        for row in rows.to_dict("records")
    ]
    shown = pd.DataFrame(
        {
            "series": rows["what"].to_numpy(),
            "x": rows["history"].clip(lower=1).to_numpy(),
            "ms": rows[column].to_numpy(),
            "text": texts,
        }
    )
    longest = shown.loc[shown.groupby("series", sort=False)["x"].idxmax()]
    words = "; ".join(
        f"{row['series']} {numbers.ms(row['ms'])} at {row['x']:,}" for row in longest.to_dict("records")
    )
    st.markdown(f"**{title}**")
    chart(
        measured_charts.times,
        shown,
        f"{title}, {percentile} by behaviours. {words}",
        series=tuple(dict.fromkeys(shown["series"])),
        x_title="Behaviours (log scale)",
        y_title=f"{percentile} (ms)",
    )


@st.cache_data(show_spinner="Reading the profile…", max_entries=8)
def _summary(path: str, stamp: int) -> ProfileSummary:
    return summary(Path(path))


def _profile_of(run: Run | None) -> Path | None:
    """The profile that a run's service times were drawn from; None for live ones, or no run."""
    if run is None or run.manifest.get("service_times") != "profile" or not run.has(CONFIG):
        return None
    try:
        file = tomllib.loads((run.path / CONFIG).read_text(encoding="utf-8"))
        named = str(file["experiment"]["profile"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shipped = SHIPPED / f"{named}.json"
    return shipped if shipped.is_file() else Path(named)


def study() -> None:
    """Quality against cost, of every model on the study's worlds."""
    found = measured("models")
    rows = found["rows"]
    st.subheader("Quality against cost")
    left, right = st.columns(2)
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    world = str(
        left.segmented_control(
            "World", worlds, default=worlds[0], required=True, key="world", bind="query-params"
        )
    )
    costs = list(
        dict.fromkeys(key for row in rows for key, value in row["cost"].items() if value is not None)
    )
    cost = str(
        right.selectbox("Cost of a request", costs, index=len(costs) - 1, key="cost", bind="query-params")
    )
    own = [row for row in rows if row["world"] == world and row["cost"].get(cost) is not None]
    frame = pd.DataFrame(
        [
            {
                "name": row["name"],
                "x": row["cost"][cost],
                "lead": row["lead_pt"],
                "low": None if row["lead_ci_pt"] is None else row["lead_ci_pt"][0],
                "high": None if row["lead_ci_pt"] is None else row["lead_ci_pt"][1],
                "front": row["front"][cost],
            }
            for row in own
        ]
    )
    best = ", ".join(frame[frame["front"]].sort_values("x")["name"])
    chart(
        measured_charts.quality,
        frame,
        f"Lead over {found['base']} against {cost} on {world}. No other is as good and cheaper than: {best}",
        x_title=f"{cost} (log scale)",
        base=found["base"],
        ink=ink(),
    )
    table = [
        {
            "Model": row["name"],
            "Behaviours": numbers.count(row["history"]),
            "Lead (points of AUC)": _lead(row),
            cost: numbers.plain_number(row["cost"][cost]),
            "Trainings": numbers.count(row["trainings"]),
        }
        for row in sorted(own, key=lambda row: -row["sauc"])
    ]
    with st.expander("The figures"):
        st.table(pd.DataFrame(table), border="horizontal", hide_index=True)
    st.caption(
        f"AUC by the true click probabilities on held-out days of the world “{plain(world)}”; "
        f"{found['base']} reads the newest 100 behaviours. Lines are 95% intervals over worlds. Orange: no "
        f"other model is as good and cheaper. {_sources(found['sources'], JUDGED)}"
    )


def _lead(row: Mapping[str, Any]) -> str:
    if row["lead_pt"] is None:
        return numbers.MISSING
    ends = row["lead_ci_pt"]
    interval = "" if ends is None else f" ({ends[0]:+.2f} to {ends[1]:+.2f})"
    return f"{row['lead_pt']:+.2f}{interval}".replace("-", numbers.MINUS)


def stores() -> None:
    """SeqVault beside LastN on RocksDB: reads, bytes, writes."""
    found = measured("stores")
    st.subheader("SeqVault and LastN")
    choices = st.container(horizontal=True, gap="medium")
    regime = str(
        choices.segmented_control(
            "Read", list(REGIMES), default="warm", required=True, key="regime", bind="query-params",
            format_func=lambda name: REGIMES[name],
        )
    )  # fmt: skip
    which = str(
        choices.segmented_control(
            "Time", list(READS), default="wall_p50_us", required=True, key="read_time", bind="query-params",
            format_func=lambda name: READS[name],
        )
    )  # fmt: skip
    reads = [row for row in found["reads"] if row["regime"] == regime and row["engine"] in ENGINES]
    known = list(dict.fromkeys(row["engine"] for row in reads))
    engines = st.multiselect(
        "Stores", known, default=[name for name in known if name in FIRST], key="engines",
        bind="query-params", format_func=_engine,
    )  # fmt: skip
    shown = pd.DataFrame(
        [
            {
                "series": ENGINES[row["engine"]],
                "x": row["behaviours"],
                "ms": row[which],
                "text": f"{row[which]:,.1f} µs",
            }
            for row in reads
            if row["engine"] in engines
        ]
    )
    title = f"Reading the newest behaviours of a user {REGIMES[regime]}"
    if shown.empty:
        st.caption("Choose a store.")
    else:
        words = "; ".join(
            f"{row['series']}: {row['text']}" for row in shown[shown["x"] == "1k"].to_dict("records")
        )
        st.markdown(f"**{title}**")
        chart(
            measured_charts.times,
            shown,
            f"{title}, {READS[which]} of 1,000: {words}",
            series=tuple(dict.fromkeys(shown["series"])),
            x_title="Behaviours",
            y_title=f"{READS[which]} (µs)",
            words=tuple(dict.fromkeys(shown["x"])),
        )
    _bytes(found["disk"])
    _writes(found["writes"])
    st.caption(_sources(found["sources"], tuple(found["sources"])))


def _engine(name: str) -> str:
    return ENGINES[name]


def _bytes(disk: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in disk if row["engine"] in FIRST]
    frame = pd.DataFrame(
        [
            {
                "group": DATA.get(row["data"], row["data"]),
                "kind": ENGINES[row["engine"]],
                "value": row["bytes_per_behaviour"],
                "text": f"{row['bytes_per_behaviour']:.1f}",
            }
            for row in rows
        ]
    )
    title = "Bytes on disk for a behaviour"
    words = "; ".join(f"{row.group}, {row.kind}: {row.text}" for row in frame.itertuples())
    chart(
        measured_charts.bars,
        frame,
        f"{title}, by data and store. {words}",
        groups=tuple(dict.fromkeys(frame["group"])),
        kinds=tuple(dict.fromkeys(frame["kind"])),
        title=title,
        ink=ink(),
    )
    st.caption(
        "Drawn histories first, with item ids of four and of eight bytes, and of users with one behaviour; "
        "the others are logs, most of them of short histories. *packed* keeps columns in as few bits as they "
        "need, *zstd* compresses them further and is slower to read."
    )


def _writes(rows: Sequence[Mapping[str, Any]]) -> None:
    table = [
        {
            "Store": ENGINES.get(row["engine"], row["engine"]),
            "Million behaviours a second": numbers.plain_number(row["million_per_s"]),
            "CPU µs each, until accepted": numbers.plain_number(row["cpu_us"]),
            "until settled": numbers.plain_number(row["settled_cpu_us"]),
            "Bytes written each": numbers.plain_number(row["bytes_per_behaviour"]),
        }
        for row in rows
    ]
    st.markdown("**Writing**")
    st.table(pd.DataFrame(table), border="horizontal", hide_index=True)


def _sources(sources: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    """Where figures come from: file, machine, commit."""
    parts = []
    for name in names:
        if name in sources:
            machine = sources[name]["machine"]
            words = f"{machine['cpu']}, {machine['cores']} cores"
            words += f", {machine['gpu']}" if machine.get("gpu") else ""
            parts.append(f"{name.replace('_', ' ')}: {words}, commit {sources[name]['commit']}")
    return plain("; ".join(parts) + ".")


page()
