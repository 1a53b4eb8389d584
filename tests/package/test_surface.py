"""What `import keydistill` gives, what it costs, and that it gets along with what lies beside it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import keydistill
from keydistill.cli.extras import EXTRAS, extra_of
from tests.support.places import ROOT

# Services and notebooks import these: a name that goes or changes its meaning is a new major version.
PUBLIC = [
    "AnyOf",
    "Assistant",
    "Equals",
    "Filter",
    "KeydistillError",
    "LiveRetriever",
    "Range",
    "Recommendation",
    "Retriever",
    "Settings",
    "Student",
    "__version__",
    "keyphrase_filter",
    "load_settings",
    "open_engine",
]


def python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own in `folder`, whose modules come first, with this checkout behind it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )


def test_the_public_names_are_these() -> None:
    assert keydistill.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(keydistill))
    for name in PUBLIC:
        assert getattr(keydistill, name) is not None


def test_a_name_that_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'keydistill' has no attribute 'Teacher'"):
        _ = keydistill.Teacher


def test_importing_it_takes_under_a_third_of_a_second(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("import keydistill, sys; sys.exit('numpy' in sys.modules)", tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.3


def test_what_a_reader_imports_has_no_extra_in_it(tmp_path: Path) -> None:
    heavy = sorted({module for modules in EXTRAS.values() for module in modules})
    code = (
        "import sys; import keydistill; from keydistill import *\n"
        "import keydistill.cli.search, keydistill.cli.recommend\n"
        "import keydistill.vectorstore.edge, keydistill.vectorstore.server\n"
        f"sys.exit(', '.join(set({heavy!r}) & set(sys.modules)) or 0)"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ["cli", "distillation", "encoders", "ingest", "workers"])
def test_a_folder_of_the_repository_is_no_module(room: str) -> None:
    done = python(f"import {room}", ROOT)
    assert done.returncode == 1
    assert f"ImportError: {room} is a part of the package keydistill; import keydistill.{room}" in done.stderr


def test_a_service_may_have_modules_of_the_same_names_beside_it(tmp_path: Path, tiny_folder: Path) -> None:
    for name in ("settings", "errors", "files", "progress"):
        (tmp_path / f"{name}.py").write_text(f"OWNER = 'the service, {name}'\n")
    for name in ("tables", "cli", "runs", "encoders"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"OWNER = 'the service, {name}'\n")
    code = (
        "import settings, errors, files, progress, tables, cli, runs, encoders\n"
        "from keydistill import KeydistillError, Student, keyphrase_filter, load_settings, open_engine, LiveRetriever\n"
        "import keydistill.cli.search, keydistill.tables, keydistill.errors\n"
        "for module in (settings, errors, files, progress, tables, cli, runs, encoders):\n"
        "    assert module.OWNER == f'the service, {module.__name__}', module\n"
        "settings = load_settings(home='home')\n"
        "open_engine(settings).close()\n"
        f"student = Student.load({str(tiny_folder)!r}, runtime='numpy')\n"
        "assert student.embed_keyphrases(['red shoes', 'ps5']).shape == (2, 32)\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_command_without_its_extra_says_which(tmp_path: Path) -> None:
    code = (
        "import keydistill.cli.main as command\n"
        "def called(**options):\n"
        "    raise ModuleNotFoundError('No module named torch', name='torch.nn')\n"
        "command.cli.main = called\n"
        "command.main()\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: this needs the extra train: pip install 'keydistill[train]'\n"


def test_every_extra_of_the_table_is_one_that_can_be_installed() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"all", "dev", "docs", "flower"}
    # Everything but dev.
    assert extras["all"] == [f"keydistill[{','.join(sorted(EXTRAS))}]"]
    assert extra_of("redis.exceptions") == "workers"
    assert extra_of("keydistill.workers") is None
    assert extra_of(None) is None
