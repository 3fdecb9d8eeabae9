"""What the package imports, and that its page is right."""

import re
import subprocess
import sys
from pathlib import Path

from simulator.traffic.trace import Requests
from simulator.world.world import World

PAGE = Path(__file__).parents[3] / "docs" / "world.md"


def test_the_world_needs_numpy_alone() -> None:
    code = (
        "import sys, simulator.world.world, simulator.traffic.trace, simulator.traffic.examples;"
        "print([m for m in ('torch', 'pyarrow', 'scipy', 'numba', 'simpy', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_pages_snippet_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(snippet, names)
    assert names["p_click"].shape == (2, 2)  # type: ignore[attr-defined]


def test_the_public_trace_names_no_hidden_truth(demo: World) -> None:
    assert set(vars(demo.requests)) == set(Requests.__dataclass_fields__)
    assert not {"event", "topic", "click_bias", "p_true", "affinity"} & set(vars(demo.requests))
    public = {"ad_id", "category", "advertiser", "tcpa", "advertiser_tcpa"}
    assert set(vars(demo.catalogue)) == public
