"""The certificate that is shipped with the package, from benchmarks/results/inference_coverage.json.

python benchmarks/pages/certificate.py
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.pages.layout import RESULTS
from simulator.results.certificate import SHIPPED


def certificate(inference: dict[str, Any]) -> str:
    """What the package ships of the calibrations: all that is a share of experiments."""
    rows = [row for row in inference["rows"] if "value" in row]
    return json.dumps({"commit": inference["commit"], "rows": rows}, indent=1) + "\n"


def main() -> None:
    """Write it."""
    saved = json.loads((RESULTS / "inference_coverage.json").read_text(encoding="utf-8"))
    SHIPPED.write_text(certificate(saved), encoding="utf-8")


if __name__ == "__main__":
    main()
