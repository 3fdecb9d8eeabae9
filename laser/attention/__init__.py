"""Target-attention operators: the candidate is the query, the history keys and values.

Start at `activation_unit.py` (DIN's), then `segmented.py` (LASER's). Each operator has a plain twin,
`*_plain`, that spells the published formula out with per-behaviour queries, keys and values. The fast forms
give the same outputs and gradients without building those tensors.
"""
