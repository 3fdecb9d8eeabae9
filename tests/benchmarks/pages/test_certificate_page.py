"""The shipped certificate is what was measured, and every kind of interval has one."""

from __future__ import annotations

import json

from benchmarks.pages.certificate import certificate as made_of
from benchmarks.pages.layout import RESULTS
from simulator.results.certificate import SHIPPED, certificate, measured


def test_the_shipped_certificate_is_the_saved_calibration() -> None:
    saved = json.loads((RESULTS / "inference_coverage.json").read_text(encoding="utf-8"))
    assert SHIPPED.read_text(encoding="utf-8") == made_of(saved), "run python benchmarks/pages/certificate.py"


def test_every_kind_of_interval_has_its_certificate() -> None:
    ratio = certificate(["log-ratio, CUPED"])
    assert len(ratio) == 1
    assert "200 users an arm" in ratio[0]
    assert "of 10,000 experiments" in ratio[0]
    assert "P99" in certificate(["log-ratio of quantiles, user-clustered order statistics"])[0]
    assert "14 days" in certificate(["always valid (asymptotic confidence sequence)"])[0]
    assert certificate(["another"]) == []
    assert all(0 <= row["value"] <= 1 for row in measured())
