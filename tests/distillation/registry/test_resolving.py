"""Whoever is about to load a version gets what was published, or an error."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keydistill.distillation.registry import Lineage, ModelVersion, Registry, resolve_model
from keydistill.errors import ModelChangedError
from keydistill.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


@pytest.fixture(params=["student", "assistant"])
def version(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> ModelVersion:
    folder = tmp_path / "trained"
    folder.mkdir()
    for name in ("modules.json", "config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    registry = Registry.of(settings)
    published = registry.publish(request.param, folder, lineage=Lineage(), metrics={})
    registry.promote(published)
    return published


def flip(version: ModelVersion) -> None:
    file = version.folder / "model.safetensors"
    times = file.stat()
    file.chmod(0o644)
    file.write_bytes(b"weighty")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def add(version: ModelVersion) -> None:
    version.folder.chmod(0o755)
    (version.folder / "modeling.py").write_text("")


def remove(version: ModelVersion) -> None:
    version.folder.chmod(0o755)
    (version.folder / "config.json").unlink()


def names_of(version: ModelVersion) -> list[str]:
    return ["promoted", version.full_name, f"{version.kind}/promoted", str(version.folder)]


def test_what_was_published_is_resolved(settings: Settings, version: ModelVersion) -> None:
    for name in names_of(version):
        assert resolve_model(settings, version.kind, name) == str(version.folder)


@pytest.mark.parametrize("harm", [flip, add, remove])
@pytest.mark.parametrize("used_before", [False, True])
def test_what_was_changed_is_refused_by_any_name(
    settings: Settings, version: ModelVersion, harm: Callable[[ModelVersion], None], used_before: bool
) -> None:
    if used_before:
        resolve_model(settings, version.kind, "promoted")
    harm(version)
    for name in names_of(version):
        with pytest.raises(ModelChangedError, match="do not use it"):
            resolve_model(settings, version.kind, name)


def test_files_are_hashed_once(settings: Settings, version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    # The files are younger than what is remembered.
    monkeypatch.setattr("keydistill.files.hashes._TICK_NS", 0)
    resolve_model(settings, version.kind, "promoted")
    monkeypatch.setattr("keydistill.files.hashes.file_sha256", lambda path: pytest.fail("hashed again"))
    for name in names_of(version):
        resolve_model(settings, version.kind, name)
