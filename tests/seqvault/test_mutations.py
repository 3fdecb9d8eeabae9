"""The mutations that `make mutate` tries still fit the code, and name tests that are there."""

import ast

import pytest
from mutate import MUTATIONS, ROOT, Mutation, mutated


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_changes_one_place_into_valid_source(mutation: Mutation) -> None:
    ast.parse(mutated(mutation, ROOT))
    assert all((ROOT / test).exists() for test in mutation.tests)
