"""The small version of every benchmark that no other test calls runs to its end and writes its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import on_server
from keydistill.settings import load_settings
from keydistill.vectorstore import CollectionSpec
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.front_process import FrontProcess
from tests.support.places import ROOT

# `esci` needs data that is not ours to give on; `swap_under_load` has tests of its own.
BENCHMARKS = ["ablation", "build", "embedding", "lists", "million", "serve", "soak", "sync", "workers"]


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["build", "million", "search", "sync"])
def test_quick_on_a_server(name: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    with FrontProcess(tmp_path / "front") as front:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--url", front.url, "--json", str(figures)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        asked = {request["path"] for request in front.requests()}
        assert any("/points" in path for path in asked)
        with ServerEngine(front.url) as engine:
            assert engine.collections() == []
    assert json.loads(figures.read_text())["machine"]["cores"] > 0


def test_what_a_benchmark_leaves_on_a_server_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYDISTILL_HOME", str(tmp_path / "home"))
    with FrontProcess(tmp_path / "front") as front, ServerEngine(front.url) as engine:

        def build(name: str, alias: str) -> None:
            engine.create(name, CollectionSpec(4, quantization="none"), {})
            engine.finish(name)
            engine.swap_alias(alias, name, None)

        build("theirs-1", "theirs")
        with on_server(front.url):
            settings = load_settings()
            assert (settings.engine, settings.qdrant_url) == ("server", front.url)
            build(f"{settings.alias}-1", settings.alias)
        assert engine.collections() == ["theirs-1"]
        with on_server(front.url, "kept"):
            build("kept-1", "kept")
        assert engine.aliases() == {"theirs": "theirs-1", "kept": "kept-1"}
        assert load_settings().engine == "embedded"
