"""The small version of every benchmark that no other test calls runs to its end and writes its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

# `esci` and `quantization` need data that is not ours to give on; `swap_under_load` has tests of its own.
BENCHMARKS = [
    "ablation",
    "build",
    "embedding",
    "lists",
    "million",
    "plan",
    "restore",
    "serve",
    "server_calls",
    "soak",
    "sync",
    "table",
    "workers",
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_quick(name: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(figures.read_text())["machine"]["cores"] > 0
    assert len(done.stdout.splitlines()) > 2
