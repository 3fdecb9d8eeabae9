"""Small logs in exactly KuaiRand's published format, made from a seed."""

import gzip
from pathlib import Path

import numpy as np

LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
    "server_height,music_id,music_type,tag"
)
LOG_NAME, VIDEO_NAME = "log_standard_4_25_to_4_30_pure.csv", "video_features_basic_pure.csv"
MIDNIGHT_MS = 1_650_816_000_000  # 25 April 2022, 00:00 in China
DAY_MS = 86_400_000
TAGS = ("1", "2", '"3,7"', '"12,65"', "39", "")


def log_lines(
    users: int = 150, videos: int = 60, days: int = 6, rows: int = 2400, seed: int = 1
) -> list[str]:
    """Rows of a log, without its header, in order of time; some repeat, some share their moment."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(0.0, 1.0, (users, len(TAGS)))
    time_ms = np.sort(rng.integers(0, days * DAY_MS, rows)) + MIDNIGHT_MS
    # The first and the last day must not depend on the draw.
    time_ms[0], time_ms[-1] = MIDNIGHT_MS + 1, MIDNIGHT_MS + days * DAY_MS - 1
    lines = []
    for at in time_ms.tolist():
        user = int(rng.integers(users))
        for video in rng.choice(videos, 2 if rng.random() < 0.02 else 1, replace=False).tolist():
            lines.append(_row(rng, user, int(video), at, taste[user, video % len(TAGS)]))
            if rng.random() < 0.03:
                lines.append(lines[-1])
    return lines


def _row(rng: np.random.Generator, user: int, video: int, time_ms: int, liking: float) -> str:
    tab = int(rng.choice([0, 1, 1, 1, 4, 14]))
    click = int(rng.random() < 1 / (1 + np.exp(-(liking + (tab != 0) - 0.6))))
    long_view = int(click and rng.random() < 0.6)
    like, hate = int(click and rng.random() < 0.05), int(not click and rng.random() < 0.01)
    # hourmin is rounded up in the published files, so it runs ahead of time_ms, at times into the next date.
    hours = (time_ms - MIDNIGHT_MS) // 3_600_000 + int(rng.random() < 0.18)
    date, hourmin = 20220425 + hours // 24, hours % 24 * 100
    play = int(rng.exponential(30_000 if click else 2_000))
    flags = f"{click},{like},0,0,0,{hate},{long_view}"
    return f"{user},{video},{date},{hourmin},{time_ms},{flags},{play},{20_000 + video},0,0,0,0,{tab}"


def video_lines(videos: int = 60) -> list[str]:
    """Rows of the video features, without the header; every sixth video has no tag."""
    return [
        f"{video},{7_000_000 + video // 2},NORMAL,2022-04-10,LongImport,0.0,,720.0,1280.0,{900 + video},9.0,"
        f"{TAGS[video % len(TAGS)]}"
        for video in range(videos)
    ]


def write_kuairand(
    folder: Path,
    lines: list[str] | None = None,
    *,
    header: str = LOG_HEADER,
    compress: bool = False,
    videos: int = 60,
) -> Path:
    """Write a log and its video features; returns the log's path."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / VIDEO_NAME, [VIDEO_HEADER, *video_lines(videos)], compress)
    return _write(folder / LOG_NAME, [header, *(log_lines() if lines is None else lines)], compress)


def _write(path: Path, lines: list[str], compress: bool) -> Path:
    data = ("\n".join(lines) + "\n").encode()
    if compress:
        path = path.with_name(path.name + ".gz")
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)
    return path
