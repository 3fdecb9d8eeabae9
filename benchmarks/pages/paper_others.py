"""The papers' page: what STCA, VISTA and VQL claim, beside what their models here do."""

from collections.abc import Mapping
from typing import Any

from benchmarks.models.gaps import ends
from benchmarks.models.study_plan import SUMMARY_KEPT
from benchmarks.pages.layout import table
from benchmarks.pages.study_claims import EXTRAPOLATION_COST, EXTRAPOLATION_KEPT
from benchmarks.pages.study_parts import kept_of
from benchmarks.pages.study_rows import NONE, Row, Study, prose
from simulator.results import numbers

INTRO = """
The models are this project's reading of the papers ([models.md](models.md)); times are of one request,
from ids on the host to logits on the host, at default options with width 16.
"""
FLAT = (
    1.25  # a cost that grows by less than this from 1,000 to 10,000 behaviours does not depend on the length
)


def others(results: Mapping[str, Row], study: Study) -> list[str]:
    """Claims of cost and exactness, then the models as arms of one experiment."""
    claims = results.get("paper_claims")
    parts = ["## STCA, VISTA, VQL\n"]
    if claims is None:
        parts.append("`python -m benchmarks.paper claims` has not been run yet.\n")
    else:
        where = claims["machine"]["gpu"] or claims["machine"]["cpu"]
        parts.append(prose(f"{INTRO} Measured on {where}, commit {claims['commit']}."))
        head = ["paper", "claim", "measured here", "does it come out?"]
        lines = [*_stca(claims, study), *_vista(claims, results.get("paper_second")), *_vql(claims)]
        parts.append(table(head, lines))
        if _rows(claims, "latency"):
            parts.append(_latencies(claims))
    return [*parts, *_arms(results.get("paper_second"))]


def _rows(result: Row, part: str, **which: Any) -> list[Row]:
    return [
        r
        for r in result["rows"]
        if r["part"] == part and all(r[key] == value for key, value in which.items())
    ]


def _lengths(claims: Row) -> tuple[int, int]:
    found = sorted({row["history"] for row in _rows(claims, "operations")})
    return found[0], found[-1]


def _mode(claims: Row) -> str:
    return "graph" if any(row["mode"] == "graph" for row in _rows(claims, "latency")) else "cpu"


def _p50(claims: Row, name: str, history: int, candidates: int = 100) -> float | None:
    which = {"name": name, "history": history, "candidates": candidates, "mode": _mode(claims)}
    found = _rows(claims, "latency", **which)
    return found[0]["p50_ms"] if found else None


def _macs(claims: Row, model: str, history: int, candidates: int) -> float:
    (found,) = _rows(claims, "operations", model=model, history=history)
    return float(found[f"macs_{candidates}"])


def _stca(claims: Row, study: Study) -> list[list[str]]:
    short, long = _lengths(claims)
    grown = _macs(claims, "stca", long, 1) / _macs(claims, "stca", short, 1)
    each = (_macs(claims, "stca", long, 100) - _macs(claims, "stca", long, 1)) / 99
    shared = 1 - each / _macs(claims, "stca", long, 1)
    transformer = _macs(claims, "transformer", long, 1) / _macs(claims, "transformer", short, 1)
    linear = grown <= 1.1 * long / short
    lines = [
        [
            "STCA",
            "cost linear in the length",
            f"{long / short:g} times the behaviours: {grown:.1f} times the multiply-accumulates "
            f"(Transformer: {transformer:.0f})",
            _yes(linear),
        ],
        [
            "",
            "a request's user side is shared by its candidates",
            f"at {long:,} behaviours a further candidate costs {numbers.percent(1 - shared)} of the first",
            _yes(shared > 0.5),
        ],
    ]
    rows = study.pool("length")
    for world, at in (("loud-10k", "10,000"), ("quick", "1,000")):
        kept = kept_of(rows, world, "stca, short", "stca")
        if kept is not None and kept.quality is not None:
            share, claimed = kept.quality, f"{EXTRAPOLATION_KEPT} % of the gain at {EXTRAPOLATION_COST}"
            taken = numbers.percent(kept.seconds, digits=0)
            lines.append(
                [
                    "",
                    f"trained short, served at {at}: {claimed}",
                    f"`{world}`: {_kept(share)} % of the gain at {taken} of the time",
                    _inside(share, EXTRAPOLATION_KEPT),
                ]
            )
    return lines


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _kept(found: Row) -> str:
    interval = ends(found)
    return f"{found['pt']:.0f}" + ("" if interval is None else f" [{interval[0]:.0f}, {interval[1]:.0f}]")


def _inside(found: Row, claimed: float) -> str:
    interval = ends(found)
    if interval is None:
        return "not told"
    return "the interval holds it" if interval[0] <= claimed <= interval[1] else "no"


def _ratio(claims: Row, name: str) -> tuple[float | None, str]:
    """How a model's time grows from the short to the long history, and in words."""
    short, long = _lengths(claims)
    times = [_p50(claims, name, length) for length in (short, long)]
    if times[0] is None or times[1] is None:
        return None, "not timed"
    return times[1] / times[
        0
    ], f"{numbers.ms(times[0])} at {short:,} behaviours, {numbers.ms(times[1])} at {long:,}"


def _vista(claims: Row, second: Row | None) -> list[list[str]]:
    kept, words = _ratio(claims, "vista" + SUMMARY_KEPT)
    lines = [
        [
            "VISTA",
            "ranking costs the same at any length once the summary is kept",
            words,
            "not timed" if kept is None else _yes(kept < FLAT),
        ]
    ]
    saved = _saved(claims, second)
    return [*lines, ["", "inference GPU time -94 %", *saved]]


def _saved(claims: Row, second: Row | None) -> list[str]:
    """GPU time of ranking from kept summaries with their refresh, against a summary for each request."""
    arms = [] if second is None else _rows(second, "arm", model="vista")
    summary = arms[0]["summary"] if arms else None
    _, long = _lengths(claims)
    whole, read = _p50(claims, "vista", long), _p50(claims, "vista" + SUMMARY_KEPT, long)
    if whole is None or read is None:
        return ["not timed", "not told"]
    share = None if summary is None else summary["share_of_requests"]
    built = whole if share is None else share * whole
    if share is None:
        return [f"{numbers.percent(read / whole - 1, digits=0)} at {long:,} without the refresh", "not told"]
    change = (read + built) / whole - 1
    words = (
        f"{numbers.percent(change, digits=0)} at {long:,} behaviours, with the refresh at "
        f"{numbers.percent(share)} of requests ({numbers.percent(read / whole - 1, digits=0)} without it)"
    )
    return [words, _yes(change <= -0.9)]


def _vql(claims: Row) -> list[list[str]]:
    caches = sorted(_rows(claims, "cache"), key=lambda row: row["history"])
    apart = max(row["largest_change"] for row in caches)
    beyond = sum(row["beyond_bound"] for row in caches)
    first, last = caches[0], caches[-1]
    kept, words = _ratio(claims, "vql" + SUMMARY_KEPT)
    by_length = ", ".join(f"{row['weights_l1_mean']:.2f} at {row['history']:,}" for row in caches)
    return [
        [
            "VQL",
            "the cached form equals the exact one",
            f"probabilities apart by at most {apart:.1g}",
            _yes(apart < 1e-5),
        ],
        [
            "",
            "the error of quantised keys does not grow with the length",
            f"L1 error of the attention weights {by_length}; beyond its bound: {beyond} cases",
            _yes(last["weights_l1_mean"] <= 1.1 * first["weights_l1_mean"] and beyond == 0),
        ],
        ["", "latency independent of the length", words, "not timed" if kept is None else _yes(kept < FLAT)],
    ]


def _latencies(claims: Row) -> str:
    """P50 and P99 by length."""
    short, long = _lengths(claims)
    lines = []
    for name in dict.fromkeys(row["name"] for row in _rows(claims, "latency")):
        cells = []
        for length in (short, long):
            for candidates in (100, 500):
                which = {"name": name, "history": length, "candidates": candidates, "mode": _mode(claims)}
                found = _rows(claims, "latency", **which)
                timed = found and found[0]["p50_ms"] is not None
                cells.append(f"{found[0]['p50_ms']:.3g} / {found[0]['p99_ms']:.3g}" if timed else NONE)
        lines.append([name, *cells])
    head = [
        "P50 / P99, ms",
        *(f"{length:,}, {count} candidates" for length in (short, long) for count in (100, 500)),
    ]
    return table(head, lines)


def _arms(second: Row | None) -> list[str]:
    parts = ["### As arms of one experiment\n"]
    if second is None:
        return [*parts, "`examples/papers-arms.toml` has not been run at full size yet.\n"]
    (size,) = _rows(second, "experiment")
    machine = second["machine"]["gpu"] or second["machine"]["cpu"]
    words = (
        f"`examples/papers-arms.toml`: {size['requests']:,} requests of {size['users']:,} users in "
        f"{size['days']} days, a fifth of them in each arm, on {machine} in "
        f"{size['minutes']:.1f} minutes. Commit {second['commit']}. Service times: {size['profile_machine']}."
    )
    lines = []
    for arm in _rows(second, "arm"):
        effects = {row["metric"]: row for row in _rows(second, "effect", arm=arm["name"])}
        summary = arm["summary"]
        lines.append(
            [
                f"{arm['name']} ({arm['store']}, {arm['history']:,})",
                NONE if arm["auc"] is None else f"{arm['auc']:.4f}",
                *(_lift(effects.get(metric)) for metric in ("advv_per_request", "revenue_per_request")),
                f"{numbers.ms(arm['p50_ms'])} / {numbers.ms(arm['p99_ms'])}",
                numbers.share(arm["own_model_share"]),
                NONE if summary is None else f"{numbers.percent(summary['share_of_requests'])} of requests",
            ]
        )
    head = [
        "arm",
        "AUC",
        "ADVV: lift, truth",
        "revenue: lift, truth",
        "P50 / P99",
        "by its own model",
        "summaries made",
    ]
    return [*parts, prose(words), table(head, lines)]


def _lift(effect: Row | None) -> str:
    return NONE if effect is None else f"{with_interval(effect)}, {lift(effect['true_lift'])}"


def lift(value: float | None) -> str:
    """In percent, with its sign and two decimals: full-size runs tell hundredths apart."""
    return numbers.percent(value, signed=True, digits=2)


def with_interval(effect: Row) -> str:
    """An effect's estimate and the ends of its interval."""
    if effect["ci_low"] is None:
        return lift(effect["lift"])
    return f"{lift(effect['lift'])} [{lift(effect['ci_low'])}, {lift(effect['ci_high'])}]"
