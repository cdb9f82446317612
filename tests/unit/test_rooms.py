"""Data goes forward only: a later room of the package imports an earlier one, never the reverse."""

import ast

import pytest

# Modules that are in no room come first: all may import them.
ROOMS = (
    *("events", "pipeline", "models", "tracking", "serving", "finders", "baseline"),
    *("client", "measure", "analysis"),
)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def rooms_of(path):
    parts = [name.split(".") for name in imported(path)]
    return {p[1] for p in parts if p[0] == "exatrkx_service" and len(p) > 1 and p[1] in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_none_that_comes_later(root, room):
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    files = sorted((root / "src" / "exatrkx_service" / room).rglob("*.py"))
    assert files
    assert {str(path): rooms_of(path) & later for path in files if rooms_of(path) & later} == {}


def test_what_is_in_no_room_imports_none(root):
    package = root / "src" / "exatrkx_service"
    assert {path.name: rooms_of(path) for path in package.glob("*.py") if rooms_of(path)} == {}
    assert {path.name for path in package.iterdir() if path.is_dir()} - {"__pycache__"} == {*ROOMS}
