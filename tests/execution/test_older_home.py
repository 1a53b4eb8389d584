"""A home that the code of an earlier version made, under the code of today."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command, keydistill  # noqa: F401  # the fixture
from tests.support.older_home import INVENTORY, STUDENT, unpack, write_rows


@pytest.fixture
def older(keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:  # noqa: F811
    """The command, in the folder where the earlier home was unpacked."""
    unpack(tmp_path)
    monkeypatch.setenv("KEYDISTILL_STUDENT", STUDENT)
    return keydistill


def keyphrases(older: Command) -> set[str]:
    hits = json.loads(older("search", "keyphrase number 3", "--limit", 100, "--json").out)
    return {hit["keyphrase"] for hit in hits}


def rows(numbers: range) -> set[str]:
    return {f"keyphrase number {number}" for number in numbers}


def test_a_home_of_an_earlier_version_goes_on(older: Command, tmp_path: Path) -> None:
    before = json.loads(older("status", "--json").out)
    assert (before["points"], before["findings"], before["problem"]) == (24, [], None)
    runs = json.loads(older("runs", "list", "--json").out)
    assert [(run["kind"], run["state"]) for run in runs] == [
        ("sync", "done"),
        ("reindex", "live"),
        ("reindex", "retired"),
    ]
    assert keyphrases(older) == rows(range(3, 27))
    # That version left the modes of a home to the umask.
    (finding,) = json.loads(older("doctor", "--fix", "--json").out)
    assert (finding["check"], finding["fixed"]) == ("permissions", True)
    assert older("doctor").status == 0

    # It goes on where the earlier version stopped: the snapshots are compared, and one text is embedded.
    synced = older("sync", write_rows(tmp_path / INVENTORY, range(4, 28)), "--json")
    assert synced.status == 0, synced.err
    (changes,) = json.loads(synced.out)["changes"].values()
    assert (changes["added"], changes["removed"], changes["unchanged"]) == (1, 1, 23)
    assert keyphrases(older) == rows(range(4, 28))

    rebuilt = older("reindex", write_rows(tmp_path / INVENTORY, range(5, 29)), "--json")
    assert rebuilt.status == 0, rebuilt.err
    assert json.loads(rebuilt.out)["previous_target"].startswith(before["collection"].rpartition("-")[0])
    assert keyphrases(older) == rows(range(5, 29))

    # Twice: to what the earlier version had live, and to what that one had built before.
    for _ in range(2):
        back = older("collections", "rollback")
        assert back.status == 0, back.err
    assert keyphrases(older) >= rows(range(4, 26))
    assert older("doctor").status == 0


def test_reading_changes_nothing_of_it(older: Command, tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        home = tmp_path / "home"
        return {
            path.relative_to(home).as_posix(): path.read_bytes()
            for path in sorted([*home.glob("*.json*"), *home.glob("runs/*/run.json"), *home.glob("runs/*/snapshot/*")])
        }

    before = contents()
    for words in ("status", "runs list", "collections list", "collections history", "search x"):
        assert older(*words.split()).status == 0, words
    assert contents() == before
