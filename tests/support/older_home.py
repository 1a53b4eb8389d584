"""The home of an earlier version, as tests of upgrades open it, and the recipe by which it was made.

    python -m tests.support.older_home COMMIT

takes the commit's code, has its own code build a home, and packs that as `tests/data/home-of-COMMIT.tar.xz`.
Its student has eight dimensions and weights of one size and pseudo-random signs, which pack well; its vocabulary is
that of the base, and is put back when the archive is unpacked.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from keydistill.encoders import find_model
from tests.support.places import ROOT
from tests.support.tiny_models import make_tiny_student

DATA = ROOT / "tests" / "data"
# The commit from whose code the home of the tests is.
COMMIT = "11c2b00"
INVENTORY = "inventory.csv"
STUDENT = "student"
_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_VOCABULARY = ("tokenizer.json", "vocab.txt")
_RECORDS = ("*.json*", "runs/*/run.json", "runs/*/snapshot/manifest.json", "collections/*/keydistill/*.json")
_ROWS = 24


def write_rows(path: Path, rows: range) -> Path:
    """An inventory of plain keyphrases, one of which is new in each step of a range."""
    lines = [f"keyphrase number {row},Shoes > Running,{100 + row},us" for row in rows]
    path.write_text("\n".join(["keyphrase,category_path,search_volume,site", *lines]) + "\n", encoding="utf-8")
    return path


def unpack(folder: Path) -> Path:
    """The earlier home in a folder, with its inventory and student beside it."""
    with tarfile.open(DATA / f"home-of-{COMMIT}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for name in _VOCABULARY:
        shutil.copy(find_model(_BASE) / name, folder / STUDENT / name)
    home = folder / "home"
    # Records name the student and the inventory by the folder in which the home was made.
    record = json.loads(next(home.glob("runs/*/run.json")).read_text(encoding="utf-8"))
    made_in = str(Path(record["files"][0]).parent)
    for path in (file for pattern in _RECORDS for file in home.glob(pattern)):
        path.write_text(path.read_text(encoding="utf-8").replace(made_in, str(folder)), encoding="utf-8")
    # As that version left it, whatever the umask of this process is by now.
    home.chmod(0o755)
    return home


def _make(commit: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        code, place = Path(scratch) / "code", Path(scratch) / "place"
        place.mkdir()
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(code, filter="data")
        _build(code, place)
        for name in _VOCABULARY:
            (place / STUDENT / name).unlink()
        with tarfile.open(DATA / f"home-of-{commit}.tar.xz", "w:xz") as archive:
            for name in ("home", INVENTORY, STUDENT):
                archive.add(place / name, name)


def _build(code: Path, place: Path) -> None:
    make_tiny_student(place / STUDENT, width=8)
    weights = place / STUDENT / "model.safetensors"
    chance = np.random.default_rng(0)
    signs = {
        name: (chance.integers(0, 2, tensor.shape) * 2 - 1).astype(np.float32) / 32
        for name, tensor in load_file(weights).items()
    }
    save_file(signs, weights, metadata={"format": "pt"})
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KEYDISTILL_")},
        "PYTHONPATH": str(code),
        "HF_HUB_OFFLINE": "1",
        "KEYDISTILL_HOME": "home",
        "KEYDISTILL_STUDENT": STUDENT,
        "KEYDISTILL_RUNTIME": "torch",
    }

    # Before rooms were parts of one package they were packages themselves.
    module = "keydistill.cli.main" if (code / "keydistill").exists() else "cli.main"

    def keydistill(*arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        subprocess.run(command, cwd=place, env=environment, check=True)

    # Two generations, so that there is one to roll back to, and a sync.
    keydistill("reindex", str(write_rows(place / INVENTORY, range(_ROWS))))
    keydistill("reindex", str(write_rows(place / INVENTORY, range(2, _ROWS + 2))))
    keydistill("sync", str(write_rows(place / INVENTORY, range(3, _ROWS + 3))))


if __name__ == "__main__":
    _make(sys.argv[1])
