"""The contract of exports finds what it is there to find; `lint-imports` holds the package to it."""

import pytest
from grimp import ImportGraph

from tests.support.exports_contract import ExportsContract

ROOM = "keydistill.ingest"


def graph_of(*imports: tuple[str, str]) -> ImportGraph:
    """A package of two rooms, one with a room inside, and the imports (importer, imported) between their modules."""
    graph = ImportGraph()
    for module in ("keydistill", ROOM, f"{ROOM}.parts", f"{ROOM}.gate", f"{ROOM}.gate.checks", "keydistill.cli"):
        graph.add_module(module)
    for module in ("keydistill.cli.main", "keydistill.errors"):
        graph.add_module(module)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    return graph


def broken_imports(graph: ImportGraph, *public: str) -> list[tuple[str, str]]:
    contract = ExportsContract("exports", {}, {"public_modules": list(public)})
    check = contract.check(graph, verbose=False)
    assert check.kept == (not check.metadata["bypasses"] and not check.metadata["unknown"])
    return list(check.metadata["bypasses"])


@pytest.mark.parametrize(
    "allowed",
    [
        ("keydistill.cli.main", ROOM),
        (f"{ROOM}.gate.checks", f"{ROOM}.parts"),
        (ROOM, f"{ROOM}.parts"),
        ("keydistill.cli.main", "keydistill.errors"),
    ],
    ids=["a room", "of the room around", "by its own room", "of the package itself"],
)
def test_what_may_be_imported(allowed: tuple[str, str]) -> None:
    assert broken_imports(graph_of(allowed)) == []


@pytest.mark.parametrize(
    "bypass",
    [("keydistill.cli.main", f"{ROOM}.parts"), (f"{ROOM}.parts", f"{ROOM}.gate.checks")],
    ids=["of another room", "of a room inside"],
)
def test_modules_are_private_to_their_room(bypass: tuple[str, str]) -> None:
    assert broken_imports(graph_of(bypass)) == [bypass]
    assert broken_imports(graph_of(bypass), bypass[1]) == []


def test_an_exception_for_a_module_that_is_gone_is_refused() -> None:
    contract = ExportsContract("exports", {}, {"public_modules": [f"{ROOM}.gone"]})
    check = contract.check(graph_of(), verbose=False)
    assert not check.kept
    assert check.metadata["unknown"] == [f"{ROOM}.gone"]
