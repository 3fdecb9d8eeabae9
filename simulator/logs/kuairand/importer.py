"""KuaiRand's CSV files as a log folder: read, check, convert, fit the response, write.

Source: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos",
CIKM 2022 (arXiv:2208.08696). The data are CC BY-SA 4.0; so is the folder made from them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simulator.logs.folder import check_free, write_log
from simulator.logs.kuairand.convert import ADVERTISERS, CANDIDATES, FEATURE_DELAY_S, convert, local_date
from simulator.logs.kuairand.exposures import Reading, find_files, read_exposures, read_videos
from simulator.logs.kuairand.fit import PRIOR_SD, fit_response
from simulator.logs.real_log import RealLog
from simulator.traffic.behaviours import ACTIONS
from simulator.world.fitted import FEATURES

OnProgress = Callable[[str, int, int], None]

LICENCE = (
    "CC BY-SA 4.0. From KuaiRand (Gao et al., CIKM 2022, arXiv:2208.08696, kuairand.com), changed: attribute "
    "its authors and share what you derive from this folder under the same licence."
)
#: What the log does not hold and a run needs; shown with every result.
INVENTED = (
    "Ads are videos and advertisers are authors, hashed to 200; no advertiser of the log ever bid.",
    "tCPA is drawn log-normally for each advertiser, and budgets follow the simulator's rule.",
    "A conversion is a long view of a clicked video.",
    "Candidates are the exposed video and the 31 others exposed nearest to it in time; the log does not "
    "record what else could have been shown.",
    "The truth behind true lifts is a logistic regression fitted on the whole log (features of the user's "
    "whole history, video, author, category, scene, hour; no position): as true as that model.",
    "A user's propensity is the smoothed click rate before the request.",
)


def import_kuairand(folder: Path, out: Path, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Turn KuaiRand's published CSV files into a log folder.

    Args:
        folder: holds log_*.csv and video_features_basic*.csv, plain or .gz, itself or in `data/`. User
            features are not read.
        out: the log folder to write; nothing may be there.
        on_progress: called with (stage, done, total).

    Returns:
        The folder's manifest, without the entries of its files.

    Raises:
        TraceError: damaged or missing files, a log that cannot serve (the message says what and where), or
            something at `out`.
        OSError: the disk is full or the place not writable.
    """
    check_free(out)  # before the work
    on_progress = on_progress or (lambda stage, done, total: None)
    reading = Reading()
    logs, features = find_files(folder)
    videos = read_videos(features, reading)
    rows = read_exposures(logs, reading, on_progress)
    on_progress("convert", 0, 1)
    log = convert(rows, videos, reading)
    on_progress("convert", 1, 1)
    response, quality = fit_response(log, on_progress)
    manifest = _manifest(log, reading, quality)
    on_progress("write", 0, 1)
    write_log(out, log, response, manifest)
    on_progress("write", 1, 1)
    return manifest


def history_lengths(lengths: Any) -> dict[str, float]:
    """Median, P99 and maximum of history lengths, in behaviours."""
    return {
        "median": float(np.median(lengths)),
        "p99": float(np.quantile(lengths, 0.99)),
        "max": int(np.max(lengths)),
    }


def _manifest(log: RealLog, reading: Reading, quality: dict[str, Any]) -> dict[str, Any]:
    shown = log.impressions
    return {
        "source": "KuaiRand",
        "licence": LICENCE,
        "sources": reading.sources,
        "rows": {"read": reading.read, "kept": reading.kept, "dropped": reading.dropped},
        "epoch_ms": log.epoch_ms,
        "days": log.days,
        "first_date": local_date(log.epoch_ms, 0),
        "last_date": local_date(log.epoch_ms, log.days - 1),
        "time_zone": "UTC+8",
        "impressions_by_day": np.bincount(shown.day, minlength=log.days).tolist(),
        "sizes": {
            "impressions": len(shown),
            "requests": len(log.requests),
            "users": len(log.behaviours.users),
            "ads": len(log.ads.item_id),
            "advertisers": ADVERTISERS,
            "categories": log.categories,
            "scenes": log.scenes,
            "actions": ACTIONS,
            "candidates": CANDIDATES,
        },
        "rates": {
            "click": float(shown.click.mean()),
            "conversion_of_clicks": float(shown.conversion.sum() / shown.click.sum()),
        },
        "histories": history_lengths(np.diff(log.behaviours.offsets)),
        "feature_delay_s": FEATURE_DELAY_S,
        "invented": list(INVENTED),
        "response": {
            "form": "logistic regression, normal priors, L-BFGS",
            "features": list(FEATURES),
            "prior_sd": PRIOR_SD,
            "quality": quality,
        },
    }
