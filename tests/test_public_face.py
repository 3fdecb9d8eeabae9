"""What `simulator`, `laser` and `seqvault` offer to others: each name is there and described."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FACES = ("simulator", "laser", "seqvault")
NAMES = [(face, name) for face in FACES for name in importlib.import_module(face).__all__]


def promised_to_mypy(face: str) -> dict[str, str]:
    """Name -> module of each import that a type checker reads in a face."""
    tree = ast.parse((ROOT / face / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{face}.")
        for alias in node.names
    }


@pytest.mark.parametrize("face", FACES)
def test_a_face_offers_its_names_in_order_and_no_other(face: str) -> None:
    module = importlib.import_module(face)
    assert module.__all__ == sorted(module.__all__)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in ("TYPE_CHECKING", "Any")
    }
    assert public <= set(module.__all__)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("face", FACES)
def test_type_checkers_see_the_names_that_programs_get(face: str) -> None:
    module = importlib.import_module(face)
    promised = promised_to_mypy(face)
    assert sorted(promised) == module.__all__
    for name, home in promised.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize(("face", "name"), NAMES)
def test_a_public_name_is_described(face: str, name: str) -> None:
    value = getattr(importlib.import_module(face), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a constant or an alias, described in its place
    assert value.__module__.startswith(f"{face}.")
    assert value.__doc__
    assert value.__doc__[0].isupper()
    if inspect.isfunction(value):
        parameters = inspect.signature(value).parameters
        assert [parameter for parameter in parameters if parameter not in value.__doc__] == []


@pytest.mark.parametrize("face", FACES)
def test_an_unknown_name_is_an_attribute_error(face: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module(face).no_such_name  # noqa: B018


@pytest.mark.parametrize("package", [*FACES, "dashboard"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
