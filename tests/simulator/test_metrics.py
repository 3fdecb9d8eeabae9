"""The registry of metrics: what derives from it agrees with it."""

import pytest

from simulator.config.settings import ExperimentConfig
from simulator.metrics import COMPARED, GUARDRAILS, METRICS, OUTCOMES, Ratio
from simulator.results.schemas import TRUTH, USERS


def test_names_are_distinct_and_guardrails_have_a_lift() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert [metric for metric in METRICS if metric.guardrail] == list(GUARDRAILS)


def test_ratios_are_made_of_columns_that_the_tables_have() -> None:
    assert {f"expected_{name}" for name in OUTCOMES} < set(TRUTH.names)
    assert {*OUTCOMES, *(f"pre_{name}" for name in OUTCOMES)} < set(USERS.names)
    with pytest.raises(
        ValueError, match="'likes_per_request' is likes / requests, expected one of impressions"
    ):
        Ratio(
            name="likes_per_request",
            top="likes",
            below="requests",
            unit="number",
            label="",
            words="",
            meaning="",
        )


def test_the_schema_of_the_experiment_file_lists_every_metric_with_a_lift() -> None:
    primary = ExperimentConfig.model_json_schema()["$defs"]["Experiment"]["properties"]["primary"]
    assert primary["enum"] == [metric.name for metric in COMPARED]
