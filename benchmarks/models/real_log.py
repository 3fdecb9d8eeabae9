"""An imported log as examples: learn from its earlier days, judge by its last sixth.

    python benchmarks/models/real_log.py LOG ... --out DRAWN [--users N]

puts logs beside the worlds that benchmarks/models/study.py trains on, each by the name of its folder, thinned
to N users drawn from it where asked.

Nothing that a row knows is later than it: its history ends a minute before the exposure, and the user's click
rate is that of the days before. Within a day that rate would rise after each click, so that what comes before
a click looks worse than what comes after it; a nightly rate separates users and leaves their days alone.
Histories still hold the day's earlier clicks and skips, so the same exposures come once more with histories
that end at the midnight before.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.world_files import save
from laser.examples import ExampleSet
from simulator.draws import bits
from simulator.logs.folder import read_log
from simulator.logs.manifest import read_manifest
from simulator.logs.real_log import Impressions, RealLog, Split
from simulator.logs.table.convert import PRIOR_IMPRESSIONS
from simulator.logs.table.shipped import import_kuairand
from simulator.logs.world import log_impressions
from simulator.traffic.behaviours import ACTIONS
from simulator.traffic.examples import history_slices, log_examples
from simulator.traffic.trace import DAY_S

VARIABLE = "LASER_AB_REAL_DATA"
LOG = "kuairand-pure"
SEED = 1  # what a log is saved as beside generated worlds, which have several


class NoLogError(Exception):
    """The log is not at hand; the message says where it was sought."""


@dataclass(frozen=True)
class Exposures:
    """The log's examples, and how many ids there are.

    `midnight` is `test` with histories that end before the day.
    """

    train: ExampleSet
    test: ExampleSet
    midnight: ExampleSet
    categories: int
    ads: int
    scenes: int
    facts: dict[str, Any]


def open_log() -> Exposures:
    """The log in the folder that LASER_AB_REAL_DATA names.

    Raises:
        NoLogError: the variable is not set, or the log is not there.
        TraceError: its files are damaged.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None:
        raise NoLogError(f"{VARIABLE} names no folder of public logs")
    if not (Path(folder) / LOG).is_dir():
        raise NoLogError(f"{LOG} is not in the folder that {VARIABLE} names")
    return exposures_of(Path(folder) / LOG)


def exposures_of(published: Path) -> Exposures:
    """Published files of KuaiRand as examples, by way of `laser-ab import`."""
    with tempfile.TemporaryDirectory() as place:
        import_kuairand(published, Path(place) / LOG)
        return exposures_of_log(Path(place) / LOG)


def exposures_of_log(folder: Path, users: int | None = None) -> Exposures:
    """A log folder as examples; the last sixth of its days, at least one, is the test.

    Args:
        users: so many of them, drawn; None for all.

    Raises:
        TraceError: its files are damaged.
    """
    log, _ = read_log(folder)
    facts = read_manifest(folder)
    split = Split(log.days - max(1, log.days // 6), log.days, log.days, log.days)
    # Its tab, the place of the exposure, stands for a position.
    changed: dict[str, Any] = {
        "propensity": nightly_click_logit(log.impressions, log.days),
        "position": log.impressions.scene,
    }
    shown = log_impressions(replace(log, impressions=replace(log.impressions, **changed)), split)
    if users is not None:
        kept = np.unique(shown.user_id)
        kept = kept[np.argsort(bits(SEED, "thinned log", kept))[:users]]
        shown = shown.take(np.flatnonzero(np.isin(shown.user_id, kept)))
    train, test = (
        ExampleSet(**vars(log_examples(log.behaviours, shown, part))) for part in ("train", "holdout")
    )
    day_s = np.floor(test.request_time_s / DAY_S) * DAY_S
    _, end = history_slices(log.behaviours, test.user.astype(np.uint64), day_s, 0.0)
    sizes = log.categories, len(log.ads.item_id), log.scenes
    return Exposures(
        train, test, replace(test, history_end=end), *sizes, facts=_facts(train, test, log, facts)
    )


def nightly_click_logit(shown: Impressions, days: int) -> NDArray[np.float32]:
    """(N,) logit of each row's user's click rate before the row's day, pulled towards everyone's."""
    users, user = np.unique(shown.user_id, return_inverse=True)
    cell, shape = user * days + shown.day, (len(users), days)
    seen = np.bincount(cell, minlength=len(users) * days).reshape(shape)
    clicked = np.bincount(cell, shown.click, minlength=len(users) * days).reshape(shape)
    n, k = np.cumsum(seen, axis=1) - seen, np.cumsum(clicked, axis=1) - clicked
    everyone = (k.sum(axis=0) + 0.5) / (n.sum(axis=0) + 1.0)
    rate = ((k + PRIOR_IMPRESSIONS * everyone) / (n + PRIOR_IMPRESSIONS))[user, shown.day]
    logit: NDArray[np.float32] = (np.log(rate) - np.log1p(-rate)).astype(np.float32)
    return logit


def _facts(train: ExampleSet, test: ExampleSet, log: RealLog, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the data are, which says what they can show."""
    # An impression's history, each counted.
    known = np.repeat(test.history_end - test.history_start, test.shown.sum(axis=1))
    return {
        "log": manifest["source"],
        "first_date": manifest["first_date"],
        "last_date": manifest["last_date"],
        "train_impressions": int(train.shown.sum()),
        "train_requests": len(train),
        "test_impressions": int(test.shown.sum()),
        "test_requests": len(test),
        "test_users": len(np.unique(test.user)),
        "train_click_rate": float(train.label[train.shown].mean()),
        "test_click_rate": float(test.label[test.shown].mean()),
        "test_ads_unseen": float(np.mean(~np.isin(test.ad[test.shown], train.ad))),
        "history_median": float(np.median(known)),
        "history_p90": float(np.quantile(known, 0.9)),
        "history_max": int(known.max()),
        "history_empty": float(np.mean(known == 0)),
        "categories": log.categories,
        "departments": log.ads.departments[: log.categories],
        "ads": len(log.ads.item_id),
        "scenes": log.scenes,
        "actions": ACTIONS,
        # The response model of the import, fitted on the days before the last: no arm's model is part of it.
        "regression": manifest["response"]["quality"]["click"]["last_day"],
    }


def command() -> None:
    """Save logs beside the worlds of the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", type=Path, nargs="+", help="folders that laser-ab import made")
    parser.add_argument("--out", type=Path, required=True, help="as the study's --drawn")
    parser.add_argument("--users", type=int, help="of each log; all by default")
    args = parser.parse_args()
    for folder in args.logs:
        found = exposures_of_log(folder, args.users)
        made = {"train": found.train, "holdout": found.test}
        save(args.out, folder.name, SEED, made, found.facts)
        print(f"{folder.name}: {found.facts}")


if __name__ == "__main__":
    command()
