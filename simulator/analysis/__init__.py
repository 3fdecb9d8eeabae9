"""Metrics and inference: from per-user aggregates to the scorecard."""
