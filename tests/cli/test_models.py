import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keydistill.distillation.registry import Lineage, ModelVersion, Registry
from keydistill.errors import StudentError
from keydistill.retrieval import LiveRetriever
from keydistill.settings import load_settings
from keydistill.vectorstore.edge import EmbeddedEngine
from tests.cli.conftest import Command


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The one of the command's home."""
    return Registry(tmp_path / "home" / "models")


@pytest.fixture
def versions(registry: Registry, tiny_folder: Path) -> list[ModelVersion]:
    lineages = [Lineage(settings={"epochs": epochs}, seed=1) for epochs in (1, 2)]
    return [
        registry.publish("student", tiny_folder, lineage=lineage, metrics={"recall@10": figure, "note": "x"})
        for lineage, figure in zip(lineages, (0.5, 0.75), strict=True)
    ]


def test_an_empty_registry_says_how_to_fill_it(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    result = keydistill("models", "list")
    assert result.status == 0
    assert "training publishes them" in result.out
    assert json.loads(keydistill("models", "list", "--json").out) == []
    assert "no models" in keydistill("models", "verify").out


def test_list_and_show(keydistill: Command, versions: list[ModelVersion], registry: Registry) -> None:
    registry.promote(versions[1], reason="better", by="ann")
    lines = keydistill("models", "list").out.splitlines()
    assert lines[0].split()[:3] == ["version", "promoted", "published"]
    assert {line.split()[0]: "yes" in line.split() for line in lines[1:]} == {
        versions[0].full_name: False,
        versions[1].full_name: True,
    }
    listed = json.loads(keydistill("models", "list", "--json").out)
    assert {one["version"]: one["promoted"] for one in listed} == {
        versions[0].full_name: False,
        versions[1].full_name: True,
    }
    assert json.loads(keydistill("models", "list", "--kind", "assistant", "--json").out) == []
    shown = keydistill("models", "show", "student/promoted").out
    for expected in (versions[1].full_name, "by ann: better", "recall@10  0.75", "epochs  2", "seed    1"):
        assert expected in shown, expected
    assert json.loads(keydistill("models", "show", versions[0].digest[:8], "--json").out)["metrics"]["recall@10"] == 0.5


def test_compare_shows_metrics_and_what_differs(keydistill: Command, versions: list[ModelVersion]) -> None:
    names = [version.full_name for version in versions]
    out = keydistill("models", "compare", *names).out
    assert [line.split() for line in out.splitlines() if line.startswith("recall@10")] == [
        ["recall@10", "0.5", "0.75", "+0.25"]
    ]
    assert [line.split() for line in out.splitlines() if line.startswith("settings")] == [["settings.epochs", "1", "2"]]
    output = json.loads(keydistill("models", "compare", *names, "--json").out)
    assert output["metrics"]["recall@10"] == {"a": 0.5, "b": 0.75}
    assert output["lineage"] == {"settings.epochs": {"a": 1, "b": 2}}
    assert "made from the same" in keydistill("models", "compare", names[0], names[0]).out


def test_promote_and_its_dry_run(keydistill: Command, versions: list[ModelVersion], registry: Registry) -> None:
    result = keydistill("models", "promote", versions[0].name, "--dry-run")
    assert f"nothing -> {versions[0].name}" in result.out
    assert "nothing was changed" in result.out
    assert registry.promoted("student") is None
    assert keydistill("models", "promote", versions[0].name, "--reason", "first").status == 0
    assert registry.history("student")[-1].reason == "first"
    again = json.loads(keydistill("models", "promote", versions[0].name, "--json").out)
    assert again == {
        "kind": "student",
        "from": versions[0].name,
        "to": versions[0].name,
        "changes": False,
        "dry_run": False,
    }


def test_verify_names_the_file(keydistill: Command, versions: list[ModelVersion]) -> None:
    assert keydistill("models", "verify").out.count("ok  student/") == 2
    weights = versions[0].folder / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"broken")
    result = keydistill("models", "verify", versions[0].name)
    assert result.status == 1
    assert "model.safetensors was changed" in result.err
    assert result.err.count("\n") == 1
    assert keydistill("models", "promote", versions[0].name, "--dry-run").status == 1
    all_of_them = keydistill("models", "verify")
    assert all_of_them.status == 1
    assert all_of_them.out.startswith(f"ok  {versions[1].full_name}")


def test_a_version_of_the_future_is_named_and_hides_no_other(
    keydistill: Command, versions: list[ModelVersion], inventory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = versions[0].folder / "manifest.json"
    values = json.loads(path.read_text())
    assert values["format"] == 1
    path.chmod(0o644)
    path.write_text(json.dumps({**values, "format": 2, "written_by": "9.1", "files": []}))
    before = path.read_bytes()
    told = "was written by a newer keydistill (9.1, format 2; this one reads format 1); upgrade keydistill"
    (listed,) = json.loads(keydistill("models", "list", "--json").out)
    assert listed["version"] == versions[1].full_name
    assert told in caplog.text
    for arguments in (
        ["models", "verify"],
        ["models", "show", versions[0].name],
        ["models", "promote", versions[0].name],
        ["reindex", inventory, "--student", versions[0].full_name],
        ["reindex", inventory, "--student", versions[0].folder],
    ):
        refused = keydistill(*arguments)
        assert refused.status == 1
        assert told in refused.err
        assert "remove this folder" not in refused.err
    assert keydistill("models", "promote", versions[1].name).status == 0
    assert path.read_bytes() == before


def test_a_promotion_of_the_future_is_named_and_left_alone(
    keydistill: Command, versions: list[ModelVersion], registry: Registry
) -> None:
    registry.promote(versions[0])
    path = registry.root / "student" / "promoted.json"
    values = json.loads(path.read_text())
    assert values["format"] == 1
    path.write_text(json.dumps({**values, "format": 2, "written_by": "9.1"}))
    before = path.read_bytes()
    for arguments in (["show", "student/promoted"], ["promote", versions[1].name]):
        refused = keydistill("models", *arguments)
        assert refused.status == 1
        assert "promoted.json was written by a newer keydistill (9.1, format 2" in refused.err
        assert "remove it" not in refused.err
    assert path.read_bytes() == before
    # One of before there were numbers is read as it was.
    path.write_text(json.dumps({name: values[name] for name in ("version", "history")}))
    assert keydistill("models", "show", "student/promoted").status == 0


def test_what_is_not_there_is_one_line(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    result = keydistill("models", "show", "student/nothing")
    assert (result.status, result.out) == (1, "")
    assert "there is none; `keydistill models list`" in result.err


def test_reindex_builds_with_what_is_promoted_and_search_follows(
    keydistill: Command, versions: list[ModelVersion], registry: Registry, inventory: Path
) -> None:
    missing = keydistill("reindex", inventory, "--student", "promoted")
    assert missing.status == 1
    assert "no student is promoted" in missing.err
    registry.promote(versions[0])
    for source in ("promoted", versions[0].full_name[:-4]):
        run = json.loads(keydistill("reindex", inventory, "--student", source, "--json").out)
        assert run["student"] == str(versions[0].folder)
        assert run["student_version"].startswith(versions[0].name)
    registry.promote(versions[1])
    # What is live keeps the student that built it.
    hits = json.loads(keydistill("search", "iphone 13", "--json", "--limit", 1).out)
    assert hits[0]["keyphrase"] == "iphone 13"
    table = registry.root.parent.parent / "items.csv"
    table.write_text("item_id,title\n1,iphone 13\n", encoding="utf-8")
    answers, settings = table.with_name("answers.csv"), load_settings()
    # However it is reached: the collection names the folder.
    for name, change in _TAMPERING.items():
        with _changed(versions[0].folder / name, change):
            for command in (["search", "iphone"], ["recommend", table, "--out", answers]):
                refused = keydistill(*command)
                assert refused.status == 1, name
                assert f"{versions[0].folder / name} was " in refused.err, name
                assert "after student/" in refused.err
                assert not answers.exists()
            # The service opens this, logs why it cannot, and is not ready until it can.
            with EmbeddedEngine(settings.home) as engine, pytest.raises(StudentError, match=name):
                LiveRetriever.open(settings, engine)
    assert keydistill("search", "iphone").status == 0


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


_TAMPERING: dict[str, Callable[[bytes], bytes]] = {
    # Neither its size nor, for the last, its vectors tell.
    "model.safetensors": _flipped,
    "tokenizer.json": lambda content: content + b" ",
    "README.md": _flipped,
}


@contextmanager
def _changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    content = path.read_bytes()
    path.chmod(0o644)
    try:
        path.write_bytes(change(content))
        yield
    finally:
        path.write_bytes(content)
