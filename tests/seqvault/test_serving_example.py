"""examples/serve_histories.py: several reader processes answer with what their writer has acknowledged."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from seqvault import BEHAVIOURS

ROOT = Path(__file__).resolve().parents[2]
READERS = 2
PATIENCE_S = 600.0


def test_readers_of_several_processes_answer_with_what_was_acknowledged(tmp_path: Path) -> None:
    rows = {name: [1, 2] for name in BEHAVIOURS.names} | {"user_id": [7, 7], "item_id": [70, 71]}
    expected = {name: rows[name][-1:] for name in BEHAVIOURS.names}
    command = [
        sys.executable,
        "examples/serve_histories.py",
        str(tmp_path / "store"),
        "--readers",
        str(READERS),
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().split()[1]

        def get(path: str) -> str:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
                return answer.read().decode()

        server.stdin.write(json.dumps(rows) + "\n")
        server.stdin.flush()
        assert server.stdout.readline() == "durable 1\n"
        # Longer than `staleness_s`: from now on no reader may answer without it.
        time.sleep(0.2)
        told: set[int] = set()
        asked, end_s = 0, time.monotonic() + PATIENCE_S
        # Each connection is some process's; the counts of reads tell them apart.
        while (asked < 20 or len(told) < READERS) and time.monotonic() < end_s:
            assert json.loads(get("/last?user=7&user=8&n=1")) == [
                expected,
                {name: [] for name in BEHAVIOURS.names},
            ]
            asked += 1
            found = re.search(r"^seqvault_read_seconds_count\{.*\} (\d+)$", get("/metrics"), re.MULTILINE)
            assert found
            told.add(int(found[1]))
        assert max(told) < asked, "one process answered everything"
        for bad in ("/last?user=7", "/last?user=-7&n=1", "/last?user=x&n=1"):
            with pytest.raises(HTTPError, match="400"):
                get(bad)
        server.stdin.close()
        assert server.wait(PATIENCE_S) == 0
