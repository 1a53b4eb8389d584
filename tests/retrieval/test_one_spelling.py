"""What the settings ask for is spelled once: serving, the gate, tuning and evaluation search and embed alike."""

import re
from pathlib import Path

import pytest

import keydistill
from keydistill.encoders import Student, student_of
from keydistill.settings import load_settings
from keydistill.vectorstore import SearchParams, search_params_of

PACKAGE = Path(keydistill.__file__).parent


def places(pattern: str) -> set[str]:
    """The modules whose code has it, but for the simulation, whose search is another; links are followed."""
    folders = [PACKAGE, *(entry for entry in PACKAGE.iterdir() if entry.is_symlink())]
    files = {file for folder in folders for file in folder.resolve().rglob("*.py")}
    files = {file for file in files if "simulation" not in file.parts}
    return {file.name for file in files if re.search(pattern, file.read_text(encoding="utf-8"))}


def test_search_settings_reach_a_query_by_one_function() -> None:
    settings = load_settings(search_ef=77, search_oversampling=3.5)
    assert search_params_of(settings) == SearchParams(ef=77, oversampling=3.5)
    # A search setting that is added to that function is served, gated and compared with in tuning; to no other.
    assert places(r"settings\.search_") == {"factory.py"}
    users = {
        "factory.py",
        "__init__.py",
        "generation.py",
        "live.py",
        "answering.py",
        "gate.py",
        "tuner.py",
        "shadow.py",
    }
    assert places(r"\bsearch_params_of\b") == users


def test_student_settings_reach_a_student_by_one_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loads: list[tuple[tuple[str, ...], dict[str, object]]] = []
    monkeypatch.setattr(Student, "load", lambda *source, **options: loads.append((source, options)))
    settings = load_settings(student="a", dimension=64, threads=2, runtime="auto", home=tmp_path)
    alike = {"threads": 2, "runtime": "auto", "cache": settings.runtime_cache, "texts": None}
    student_of(settings)
    student_of(settings, "b", dimension=128)
    assert loads == [(("a",), {"dimension": 64, **alike}), (("b",), {"dimension": 128, **alike})]
    student_of(settings, is_measured=True)
    # Measured by the reference, unless the settings name another one.
    assert loads[-1] == (("a",), {"dimension": 64, **alike, "runtime": "torch"})
    student_of(settings.model_copy(update={"runtime": "numpy"}), is_measured=True)
    assert loads[-1][1]["runtime"] == "numpy"
    assert places(r"settings\.runtime\b") == {"student_settings.py"}
