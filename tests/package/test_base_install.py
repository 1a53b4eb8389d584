"""The package as others install it: what the wheel holds, and that the base install asks and embeds without torch."""

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.catalogue import write_catalogue
from tests.support.places import ROOT

pytestmark = pytest.mark.slow

# None of these is in a base install.
EXTRA_PACKAGES = {
    "torch",
    "transformers",
    "sentence_transformers",
    "celery",
    "redis",
    "openai",
    "tenacity",
    "duckdb",
    "scipy",
}


def pip(*arguments: str, python: str = sys.executable) -> None:
    # Without this checkout on the path: what a build left there would count as installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, env=environment)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks: a build leaves folders beside it."""
    folder = tmp_path_factory.mktemp("source") / "keydistill"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the base install."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip("install", "-c", str(ROOT / "constraints.txt"), str(wheel), python=python)
    return folder / "bin"


def modules(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1", **variables},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = modules(wheel)
    assert {name.partition("/")[0] for name in held} == {"keydistill"}
    tracked = subprocess.run(
        ["git", "ls-files", "keydistill", "cli", "distillation", "encoders", "ingest", "workers"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    sources = {name if name.startswith("keydistill/") else f"keydistill/{name}" for name in tracked}
    rooms = {"keydistill/cli", "keydistill/distillation", "keydistill/encoders", "keydistill/ingest"}
    assert sources - rooms - {"keydistill/workers"} <= held
    assert "keydistill/workers/app.py" in held
    if shutil.which("gcc") or shutil.which("cc"):
        assert any(name.startswith("keydistill/encoders/runtime/native/_int8_bert.") for name in held)


def test_a_wheel_of_the_source_distribution_holds_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    pip("wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(archive))
    (built,) = tmp_path.glob("*.whl")
    assert modules(built) == modules(wheel)


def test_a_base_install_is_small_and_has_nothing_of_ours_but_the_package(base: Path, wheel: Path) -> None:
    (packages,) = base.parent.glob("lib/python*/site-packages")
    names = {path.name for path in packages.iterdir()}
    assert not names & EXTRA_PACKAGES
    (record,) = packages.glob("keydistill-*.dist-info/RECORD")
    with record.open(encoding="utf-8", newline="") as rows:
        ours = {row[0].partition("/")[0] for row in csv.reader(rows)}
    assert ours == {"keydistill", record.parent.name, ".."}  # ..: the command
    size = sum(file.lstat().st_size for file in base.parent.rglob("*") if file.is_file()) / 1e6
    count = len(list(packages.glob("*.dist-info")))
    print(f"base install: {size:.0f} MB, {count} packages, pip and setuptools among them")
    assert size < 450


def test_the_public_names_and_a_student_work_there(base: Path, tiny_folder: Path, tmp_path: Path) -> None:
    code = (
        "import keydistill, sys\n"
        "for name in keydistill.__all__: getattr(keydistill, name)\n"
        f"student = keydistill.Student.load({str(tiny_folder)!r})\n"
        "assert student.runtime == 'numpy', student.runtime\n"
        "assert student.embed_keyphrases(['red shoes', 'ps5']).shape == (2, 32)\n"
        "import importlib.util\n"
        "print(importlib.util.find_spec('keydistill.encoders.runtime.native._int8_bert') is not None)\n"
    )
    done = run([str(base / "python"), "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    # Nothing to say: numpy computes what torch would.
    assert done.stderr == ""


def test_search_asks_there_what_was_built_with_everything_installed(
    base: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    catalogue = write_catalogue(tmp_path / "keyphrases.csv")
    variables = {"KEYDISTILL_STUDENT": str(tiny_folder), "KEYDISTILL_HOME": str(tmp_path / "home")}
    # Its weights are random: it would not pass.
    variables |= {"KEYDISTILL_GATE_MIN_RELEVANT": "0", "KEYDISTILL_GATE_MIN_RECALL": "0"}
    command = [sys.executable, "-m", "keydistill.cli.main"]
    built = run([*command, "reindex", str(catalogue)], tmp_path, PYTHONPATH=str(ROOT), **variables)
    assert built.returncode == 0, built.stderr
    here = run([*command, "search", "red shoes", "--json"], tmp_path, PYTHONPATH=str(ROOT), **variables)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    there = run([str(base / "keydistill"), "search", "red shoes", "--json"], tmp_path, **variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert there.returncode == 0, there.stderr
    expected, hits = ([hit["keyphrase"] for hit in json.loads(done.stdout)] for done in (here, there))
    assert hits == expected
    print(f"cold search: {after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.2f} s of CPU time")


@pytest.mark.parametrize("command", ["collections list", "models list", "runs list", "settings", "status"])
def test_commands_that_read_work_there(base: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "home").mkdir()
    done = run([str(base / "keydistill"), *command.split()], tmp_path, KEYDISTILL_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", "student", "--items", "items.csv", "--clicks", "clicks.csv", "--out", "student"], "train"),
        (["reindex", "keyphrases.csv"], "build"),
    ],
)
def test_what_needs_more_says_which_extra(base: Path, tmp_path: Path, arguments: list[str], extra: str) -> None:
    write_catalogue(tmp_path / "keyphrases.csv")
    rows = range(40)
    items = "".join(f"{row},Red boots {row},Clothing > Shoes\n" for row in rows)
    clicks = "".join(f"{row},red boots,100,{row % 7},1\n{row},tire,100,0,2\n" for row in rows)
    (tmp_path / "items.csv").write_text(f"item_id,title,category_path\n{items}")
    (tmp_path / "clicks.csv").write_text(f"item_id,keyphrase,impressions,clicks,position\n{clicks}")
    done = run([str(base / "keydistill"), *arguments], tmp_path, KEYDISTILL_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert done.stderr == f"error: this needs the extra {extra}: pip install 'keydistill[{extra}]'\n"
