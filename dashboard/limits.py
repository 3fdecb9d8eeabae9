"""What limits each arm: how busy its servers are, and where its slow requests spend their time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import serving_charts
from dashboard.draw import chart
from simulator.results.bottleneck import PARTS, UTILISATIONS, sentences, serving_of
from simulator.results.read import Folder

# Utilisation -> the work it counts, by its name among the parts of the latency.
_WORK = dict(zip(UTILISATIONS, ("store_service", "transport_service", "scorer_service"), strict=True))


def section(folder: Folder, card: Mapping[str, Any], where: str = "") -> None:
    """Sentences and two charts; nothing for results that lack them.

    Args:
        folder: whose arms.
        card: a scorecard, of the run or of a sweep's cell.
        where: added to the heading, such as ", at 8 ms".
    """
    loads = serving_of(card)
    if not loads:
        return
    st.subheader(f"Where the limit is{where}")
    models = {arm.get("name"): arm.get("model") for arm in folder.arms}
    for arm, load in loads.items():
        st.write(sentences(f"**{arm}** ({models[arm]})" if models.get(arm) else f"**{arm}**", load))
    left, right = st.columns(2)
    words, work = "Share of the time that servers are busy", tuple(PARTS[part] for part in _WORK.values())
    chart(serving_charts.busy, _utilisations(loads), words, left, parts=work)
    chart(serving_charts.p99_parts, _parts(loads), "What the time of P99 requests is spent on", right)
    st.caption(
        "Of all requests of the experiment, served by that arm alone. Left: the fuller bar is the "
        "bottleneck; store workers hold a request through reading and transport. Right: requests about "
        "the P99."
    )


def _utilisations(loads: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """server, part, share: one row per kind of work."""
    rows = []
    for arm, load in loads.items():
        for name, part in _WORK.items():
            number, kind = load["scorers"], "scorer"
            if part != "scorer_service":
                number, kind = load["store_workers"], "store worker"
            server = f"{arm}: {kind}" if number == 1 else f"{arm}: {number} {kind}s"
            rows.append({"server": server, "part": PARTS[part], "share": load[name]})
    return pd.DataFrame(rows)


def _parts(loads: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """arm, part, order, share."""
    rows = [
        {"arm": arm, "part": words, "order": order, "share": (load.get("p99_shares") or {}).get(part)}
        for arm, load in loads.items()
        for order, (part, words) in enumerate(PARTS.items())
    ]
    return pd.DataFrame(rows)
