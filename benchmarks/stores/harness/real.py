"""Real sequences, where they are at hand: public logs in the folder that LASER_AB_REAL_DATA names.

Each log becomes the same five columns as the synthetic histories. Nothing of them is kept in the repository;
without the folder, or without a log in it, its rows are null and say so.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.stores.harness.generator import Histories

VARIABLE = "LASER_AB_REAL_DATA"


def logs() -> Iterator[tuple[str, Histories | str]]:
    """(name, histories) of every known log, or the reason why it is missing."""
    folder = os.environ.get(VARIABLE)
    for name, read in _READERS.items():
        if folder is None:
            yield name, f"{VARIABLE} names no folder of public logs"
            continue
        try:
            yield name, read(Path(folder) / name)
        except FileNotFoundError as error:
            yield name, f"not found: {Path(error.filename or folder).name}"


def from_rows(
    user: np.ndarray,
    time_s: np.ndarray,
    item: np.ndarray,
    category: np.ndarray,
    action: np.ndarray,
    dwell_s: np.ndarray,
) -> Histories:
    """Rows in any order as histories; equal times keep the order of the log."""
    order = np.lexsort((time_s, user))
    users, counts = np.unique(user, return_counts=True)
    columns = {
        "time_s": np.asarray(time_s)[order].astype("i8"),
        "item_id": np.asarray(item)[order].astype("u4"),
        "category": np.asarray(category)[order].astype("u2"),
        "action": np.asarray(action)[order].astype("u1"),
        "dwell_s": np.minimum(np.asarray(dwell_s)[order], 65535).astype("u2"),
    }
    return Histories(users.astype("u8"), np.concatenate(([0], np.cumsum(counts))), columns)


def _flags(log: pd.DataFrame, names: list[str]) -> np.ndarray:
    bits = [log[name].to_numpy("u1") << np.uint8(i) for i, name in enumerate(names)]
    flags: np.ndarray = np.bitwise_or.reduce(bits)
    return flags


def _kuairand_pure(folder: Path) -> Histories:
    log = pd.read_csv(folder / "log_standard_4_25_to_4_30_pure.csv.gz")
    videos = pd.read_csv(folder / "video_features_basic_pure.csv.gz", usecols=["video_id", "tag"])
    # A video may have several tags: the first is its category.
    first = videos["tag"].astype(str).str.split(",").str[0]
    tag = pd.Series(pd.to_numeric(first, errors="coerce").fillna(0).to_numpy("u2"), videos["video_id"])
    return from_rows(
        log["user_id"].to_numpy(),
        log["time_ms"].to_numpy() // 1000,
        log["video_id"].to_numpy(),
        tag.reindex(log["video_id"], fill_value=0).to_numpy(),
        _flags(log, ["is_click", "is_like", "is_follow", "is_comment", "is_forward", "long_view"]),
        log["play_time_ms"].to_numpy() // 1000,
    )


def _kuairand_27k(folder: Path) -> Histories:
    log = pd.read_csv(folder / "processed_standard_kcore_15.tsv.gz", sep="\t")
    return from_rows(
        log["user_id"].to_numpy(),
        log["time_ms"].to_numpy() // 1000,
        log["video_id"].to_numpy(),
        np.zeros(len(log)),  # this log has no categories
        _flags(log, ["is_click", "label", "is_follow", "is_comment", "is_forward", "long_view"]),
        log["play_time_ms"].to_numpy() // 1000,
    )


def _movielens(folder: Path) -> Histories:
    log = pd.read_csv(folder / "ratings.csv.gz")
    movies = pd.read_csv(folder / "movies.csv.gz")
    genre = pd.Series(
        pd.factorize(movies["genres"].str.split("|").str[0], sort=True)[0].astype("u2"), movies["movieId"]
    )
    return from_rows(
        log["userId"].to_numpy(),
        log["timestamp"].to_numpy(),
        log["movieId"].to_numpy(),
        genre.reindex(log["movieId"], fill_value=0).to_numpy(),
        log["rating"].to_numpy() * 2,
        np.zeros(len(log)),  # ratings take no time
    )


def _git_activity(folder: Path) -> Histories:
    log = pd.read_csv(folder / "events.csv.gz")
    nothing = np.zeros(len(log))
    user, time_s, item, category = (
        log[name].to_numpy() for name in ("user_id", "timestamp", "item_id", "category_id")
    )
    return from_rows(user, time_s, item, category, nothing, nothing)


_READERS: dict[str, Callable[[Path], Histories]] = {
    "kuairand-pure": _kuairand_pure,
    "kuairand-27k-explicit": _kuairand_27k,
    "movielens-latest-small": _movielens,
    "git-activity-sphinx": _git_activity,
}
