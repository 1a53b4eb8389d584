import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keydistill.distillation.registry import (
    InputFile,
    Lineage,
    Registry,
    differences,
    resolve_assistant,
    resolve_student,
)
from keydistill.encoders import Student, content_digest
from keydistill.errors import InputError, ModelChangedError, ModelError, ModelNotFoundError
from keydistill.files import private_mode
from keydistill.settings import Settings, load_settings

LINEAGE = Lineage(settings={"epochs": 2, "layers": (3, 6)}, seed=7, packages={"python": "3.11"})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as far as the registry looks into it."""
    folder = tmp_path / "trained"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("modules.json", "config.json", "1_Pooling/config.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("what the trainer says", encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_published_version_has_everything_and_reads_back(registry: Registry, folder: Path) -> None:
    before = tree(folder)
    version = registry.publish(
        "student", folder, lineage=LINEAGE, metrics={"recall": {"10": 0.7}, "items": 3}, parent="student/older"
    )
    assert tree(folder) == before
    assert registry.versions() == [version] == registry.versions("student")
    assert registry.versions("assistant") == []
    assert registry.get(version.full_name) == version
    assert version.lineage.parent == "student/older"
    assert version.lineage.settings == {"epochs": 2, "layers": [3, 6]}
    assert version.metrics == {"recall": {"10": 0.7}, "items": 3}
    assert version.name[:8].isdigit()
    assert version.name[9:] == version.digest[:12]
    assert (version.folder / "model.safetensors").read_bytes() == b"weights"
    assert (version.folder / "1_Pooling" / "config.json").read_text(encoding="utf-8") == "{}"
    card = (version.folder / "README.md").read_text(encoding="utf-8")
    assert f"# {version.full_name}" in card
    assert "| recall.10 | 0.7 |" in card
    assert "| epochs | 2 |" in card
    assert sorted(version.files) == [
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "lineage.json",
        "metrics.json",
        "model.safetensors",
        "modules.json",
    ]
    version.verify()


def test_files_are_read_only_and_nobody_is_locked_out(registry: Registry, folder: Path) -> None:
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    for path in version.folder.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == private_mode(0o444), path
    assert version.folder.stat().st_mode & 0o777 == private_mode(0o755)


def test_the_same_again_is_the_version_that_is_there(registry: Registry, folder: Path) -> None:
    first = registry.publish("student", folder, lineage=LINEAGE, metrics={"recall": 0.7})
    (folder / "README.md").write_text("another text", encoding="utf-8")
    assert registry.publish("student", folder, lineage=LINEAGE, metrics={"recall": 0.8}) == first
    other_seed = Lineage(settings=LINEAGE.settings, seed=8, packages=LINEAGE.packages)
    second = registry.publish("student", folder, lineage=other_seed, metrics={})
    assert second.digest != first.digest
    assert registry.publish("assistant", folder, lineage=LINEAGE, metrics={}).digest != first.digest
    (folder / "model.safetensors").write_bytes(b"other weights")
    third = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    assert third.digest != first.digest
    # By time, whatever their hashes are.
    assert registry.versions("student") == [first, second, third]
    assert [path for path in (registry.root / "student").iterdir() if path.name.startswith(".draft")] == []


def test_a_version_can_be_published_from_another_version(registry: Registry, folder: Path) -> None:
    first = registry.publish("student", folder, lineage=LINEAGE, metrics={"recall": 0.7})
    second = registry.publish("student", first.folder, lineage=Lineage(), metrics={}, parent=first.full_name)
    assert second.metrics == {}
    assert second.lineage.parent == first.full_name
    second.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"w3ights"), "model.safetensors was changed"),
        (lambda folder: (folder / "1_Pooling" / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "extra.json").write_text("{}"), "extra.json was added"),
        (lambda folder: (folder / "metrics.json").write_text('{"recall": 1.0}'), "metrics.json was changed"),
    ],
)
def test_a_changed_file_is_named(
    registry: Registry, folder: Path, change: Callable[[Path], object], message: str
) -> None:
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={"recall": 0.7})
    for path in version.folder.rglob("*.json"):
        path.chmod(0o644)
    (version.folder / "model.safetensors").chmod(0o644)
    change(version.folder)
    with pytest.raises(ModelChangedError, match=message):
        version.verify()
    with pytest.raises(ModelChangedError, match=message):
        registry.promote(version)
    assert registry.promoted("student") is None
    # Publishing it again must not hand out what is damaged.
    with pytest.raises(ModelChangedError, match=message):
        registry.publish("student", folder, lineage=LINEAGE, metrics={"recall": 0.7})


def test_a_manifest_that_was_rewritten_with_the_files_is_found_out(registry: Registry, folder: Path) -> None:
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    manifest = json.loads((version.folder / "manifest.json").read_text(encoding="utf-8"))
    weights = version.folder / "model.safetensors"
    for path in (weights, version.folder / "manifest.json"):
        path.chmod(0o644)
    weights.write_bytes(b"forged")
    manifest["files"]["model.safetensors"] = InputFile.of("weights", weights).sha256
    (version.folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ModelChangedError, match=r"manifest\.json was changed"):
        registry.get(version.name).verify()


def test_names_may_be_shortened_as_long_as_they_fit_one(registry: Registry, folder: Path) -> None:
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    assistant = registry.publish("assistant", folder, lineage=LINEAGE, metrics={})
    for name in (version.full_name, version.name, f"student/{version.name[:8]}", version.digest[:6]):
        assert registry.get(name) == version
    assert registry.get(assistant.name[:8], "assistant") == assistant
    with pytest.raises(ModelNotFoundError, match="2 begin with it"):
        registry.get(version.name[:8])
    for name in ("student/1999", "nothing", "", "student/", "assistant/" + version.name):
        with pytest.raises(ModelNotFoundError, match="there is none"):
            registry.get(name)
    with pytest.raises(ModelNotFoundError, match="kind 'teacher'"):
        registry.get("teacher/2026")


def test_promotion_is_remembered(registry: Registry, folder: Path) -> None:
    assert registry.promoted("student") is None
    with pytest.raises(ModelNotFoundError, match="no student is promoted"):
        registry.get("student/promoted")
    first = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    second = registry.publish("student", folder, lineage=Lineage(seed=1), metrics={})
    registry.promote(first, reason="the first", by="ann")
    registry.promote(second, reason="better", by="bob")
    assert registry.promote(second, reason="again") == registry.history("student")[-1]
    registry.promote(first, reason="worse after all", by="ann")
    assert registry.promoted("student") == first == registry.get("promoted", "student")
    history = [(entry.version, entry.previous, entry.by, entry.reason) for entry in registry.history("student")]
    assert history == [
        (first.name, None, "ann", "the first"),
        (second.name, first.name, "bob", "better"),
        (first.name, second.name, "ann", "worse after all"),
    ]
    assert registry.promoted("assistant") is None


def test_a_promoted_version_that_is_gone_is_an_error(registry: Registry, folder: Path) -> None:
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    registry.promote(version)
    shutil.rmtree(version.folder)
    with pytest.raises(ModelNotFoundError, match=version.name):
        registry.promoted("student")
    assert registry.promoted_name("student") == version.name


def test_what_is_no_model_is_refused(registry: Registry, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has no modules\.json"):
        registry.publish("student", tmp_path / "empty", lineage=LINEAGE, metrics={})
    with pytest.raises(ModelError, match="metrics of a model must be fit for JSON"):
        registry.publish("student", folder, lineage=LINEAGE, metrics={"auc": float("nan")})
    with pytest.raises(ModelError, match="lineage of a model must be fit for JSON"):
        registry.publish("student", folder, lineage=Lineage(settings={"path": Path()}), metrics={})
    assert registry.versions() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from keydistill.distillation.registry import Lineage, Registry, registry
real = registry.os.rename
def rename(source, target):
    os.kill(os.getpid(), signal.SIGKILL)
registry.os.rename = rename
Registry(Path(sys.argv[1])).publish("student", Path(sys.argv[2]), lineage=Lineage(), metrics={})
"""


def test_a_killed_publisher_leaves_nothing_visible_and_is_cleaned_up_after(registry: Registry, folder: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, registry.root, folder], check=False)
    assert process.returncode == -signal.SIGKILL
    drafts = list((registry.root / "student").glob(".draft-*"))
    assert len(drafts) == 1
    assert (drafts[0] / "manifest.json").is_file()  # as late as it can be
    assert registry.versions() == []
    with pytest.raises(ModelNotFoundError):
        registry.get(drafts[0].name)
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    assert registry.versions() == [version]
    assert list((registry.root / "student").glob(".draft-*")) == []


def test_a_draft_of_a_living_process_is_left_alone(registry: Registry, folder: Path) -> None:
    from keydistill.distillation.registry.draft import draft_folder

    with draft_folder(registry.root / "student") as draft:
        (draft / "half").write_text("written", encoding="utf-8")
        registry.publish("student", folder, lineage=LINEAGE, metrics={})
        assert (draft / "half").read_text(encoding="utf-8") == "written"
    assert not draft.exists()


def _publish(root: Path, folder: Path, seed: int, ready: Any, results: Any) -> None:
    ready.wait()
    results.put(Registry(root).publish("student", folder, lineage=Lineage(seed=seed), metrics={}).full_name)


@pytest.mark.parametrize("seeds", [(1, 2, 3), (1, 1, 1)])
def test_publishers_at_once_all_succeed(registry: Registry, folder: Path, seeds: Any) -> None:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(len(seeds)), context.Queue()
    processes = [context.Process(target=_publish, args=(registry.root, folder, seed, ready, results)) for seed in seeds]
    for process in processes:
        process.start()
    names = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(names) == len(set(seeds))
    versions = registry.versions()
    assert {version.full_name for version in versions} == names
    for version in versions:
        version.verify()


def test_a_published_student_is_the_same_student(registry: Registry, tiny_folder: Path, tiny_student: Student) -> None:
    version = registry.publish("student", tiny_folder, lineage=LINEAGE, metrics={})
    assert content_digest(version.folder) == content_digest(tiny_folder)
    loaded = Student.load(str(version.folder), device="cpu")
    assert loaded.version.startswith(version.name)
    assert (loaded.embed_keyphrases(["red shoes"]) == tiny_student.embed_keyphrases(["red shoes"])).all()


def test_settings_lead_to_a_version(registry: Registry, folder: Path, tmp_path: Path) -> None:
    def settings(**options: object) -> Settings:
        return load_settings(home=tmp_path, **options)

    assert resolve_student(settings(student="some/model")) == "some/model"
    assert resolve_student(settings(student=str(folder))) == str(folder)
    assert resolve_assistant(settings()) is None
    version = registry.publish("student", folder, lineage=LINEAGE, metrics={})
    assistant = registry.publish("assistant", folder, lineage=LINEAGE, metrics={})
    registry.promote(assistant)
    assert resolve_student(settings(student=f"student/{version.name[:10]}")) == str(version.folder)
    assert resolve_assistant(settings(assistant="promoted")) == str(assistant.folder)
    with pytest.raises(ModelNotFoundError, match="no student is promoted"):
        resolve_student(settings(student="promoted"))
    with pytest.raises(ModelNotFoundError, match="there is none"):
        resolve_student(settings(student="student/20260101", registry=tmp_path / "elsewhere"))


def test_a_lineage_knows_its_files(tmp_path: Path) -> None:
    clicks, prompt = tmp_path / "clicks.csv", tmp_path / "prompt.toml"
    clicks.write_text('item_id,keyphrase\n1,"a\nb"\n2,c\n', encoding="utf-8")
    prompt.write_text("text = 'x'", encoding="utf-8")
    lineage = Lineage.collect({"clicks": [clicks], "prompt": prompt}, {"epochs": 1}, seed=3)
    assert [(file.role, file.rows) for file in lineage.inputs] == [("clicks", 2), ("prompt", None)]
    assert lineage.packages["torch"]
    assert Lineage.from_dict(json.loads(json.dumps(lineage.as_dict()))) == lineage
    moved = tmp_path / "elsewhere.csv"
    os.rename(clicks, moved)
    assert differences(lineage, Lineage.collect({"clicks": moved, "prompt": prompt}, {"epochs": 1}, seed=3)) == []
    moved.write_text("item_id,keyphrase\n1,a\n", encoding="utf-8")
    changed = Lineage.collect({"clicks": moved}, {"epochs": 1}, seed=4, parent="student/x")
    assert [(change.name, change.b) for change in differences(lineage, changed) if "sha256" not in change.name] == [
        ("inputs.clicks.rows", 1),
        ("seed", 4),
        ("parent", "student/x"),
    ]
    with pytest.raises(InputError, match="cannot be read"):
        Lineage.collect({"clicks": tmp_path / "missing.csv"}, {})


def test_metrics_and_settings_cannot_break_the_card(registry: Registry, folder: Path) -> None:
    lineage = Lineage(settings={"template": "a | b\n# heading"})
    card = (registry.publish("student", folder, lineage=lineage, metrics={}).folder / "README.md").read_text("utf-8")
    assert "| template | a \\| b # heading |" in card
