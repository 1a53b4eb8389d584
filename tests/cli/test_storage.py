"""Settings of storage from the command line: refused, recorded, told by a rebuild, brought back by a restore."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.vectorstore.server.engine import ServerEngine
from tests.cli.conftest import Command
from tests.support.front_process import FrontProcess


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


def stored(keydistill: Command) -> list[dict[str, Any]]:
    """What is recorded of each collection's storage, of the live one last: names of one second are in no order."""
    listed = json.loads(keydistill("collections", "list", "--json").out)
    return [each["storage"] for each in sorted(listed, key=lambda each: each["alias"] is not None)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SHARDS", "3"), ("REPLICAS", "2"), ("STRICT_MODE", '{"max_query_limit": 100}')],
)
def test_what_the_embedded_engine_cannot_do_is_refused_before_anything_is_made(
    keydistill: Command, inventory: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KEYDISTILL_{name}", value)
    for arguments in (["--dry-run"], []):
        result = keydistill("reindex", inventory, *arguments)
        assert result.status != 0
        assert f"setting {name.lower()!r}: the embedded engine" in result.err
        assert len(result.err.splitlines()) == 1
    assert not (inventory.parent / "home").exists()


def test_a_tenant_that_is_no_keyword_is_refused(
    keydistill: Command, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYDISTILL_TENANT", "search_volume")
    result = keydistill("reindex", inventory)
    assert "setting 'tenant': 'search_volume' is no indexed keyword field" in result.err
    assert not (inventory.parent / "home").exists()


def test_a_rebuild_follows_the_settings_and_says_what_changes(
    live: Command, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = live("reindex", inventory)
    assert "stored anew" not in again.out
    monkeypatch.setenv("KEYDISTILL_QUANTIZATION", "turbo4")
    monkeypatch.setenv("KEYDISTILL_TENANT", "site")
    monkeypatch.setenv("KEYDISTILL_PLACEMENT", '{"graph": "pinned"}')
    said = "stored anew    quantization int8 -> turbo4; tenant default -> site; placement default -> graph=pinned\n"
    assert said in live("reindex", inventory, "--dry-run").out
    assert said in live("reindex", inventory).out
    # The same inventory again: now the live one has these settings, and a copy of it keeps them.
    assert "stored anew" not in live("reindex", inventory).out
    kept = {"quantization": "turbo4", "tenant": "site", "placement": {"graph": "pinned"}}
    assert stored(live)[-1].items() >= kept.items()
    assert sum(each.items() >= kept.items() for each in stored(live)) == 2


def test_a_sync_keeps_how_the_live_collection_is_stored(
    keydistill: Command, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYDISTILL_PLACEMENT", '{"graph": "pinned", "ids": "cold"}')
    assert keydistill("reindex", inventory).status == 0
    monkeypatch.delenv("KEYDISTILL_PLACEMENT")
    inventory.write_text(inventory.read_text() + "green shoes,Clothing > Shoes,5,US\n")
    assert keydistill("sync", inventory).status == 0
    assert stored(keydistill)[-1]["placement"] == {"graph": "pinned", "ids": "cold"}


def test_shards_on_a_server_through_rebuild_backup_and_restore(
    keydistill: Command, inventory: Path, front: FrontProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KEYDISTILL_ENGINE", "server")
    monkeypatch.setenv("KEYDISTILL_QDRANT_URL", front.url)
    assert "stored anew" not in keydistill("reindex", inventory).out
    monkeypatch.setenv("KEYDISTILL_SHARDS", "4")
    monkeypatch.setenv("KEYDISTILL_STRICT_MODE", '{"max_query_limit": 500}')
    rebuilt = keydistill("reindex", inventory)
    assert "stored anew    shards 1 -> 4; strict_mode default -> max_query_limit=500\n" in rebuilt.out, rebuilt.err
    assert stored(keydistill)[-1].items() >= {"shards": 4, "strict_mode": {"max_query_limit": 500}}.items()

    monkeypatch.setenv("KEYDISTILL_REPLICAS", "2")
    refused = keydistill("reindex", inventory)
    assert "setting 'replicas': 2 replicas need as many nodes" in refused.err
    monkeypatch.delenv("KEYDISTILL_REPLICAS")

    # Restored on the embedded engine without what it cannot do, which it says; on a server as it was.
    assert keydistill("backup", tmp_path / "backups").status == 0
    monkeypatch.setenv("KEYDISTILL_HOME", str(tmp_path / "embedded"))
    monkeypatch.setenv("KEYDISTILL_ENGINE", "embedded")
    monkeypatch.delenv("KEYDISTILL_SHARDS")
    monkeypatch.delenv("KEYDISTILL_STRICT_MODE")
    restored = keydistill("restore", tmp_path / "backups")
    assert restored.status == 0, restored.err
    assert "the embedded engine keeps a collection in one shard on one machine and has no shards" in restored.out
    assert not {"shards", "strict_mode"} & stored(keydistill)[-1].keys()
    assert keydistill("search", "red shoes").status == 0

    with ServerEngine(front.url) as engine:
        for name in engine.collections():
            engine._client.delete_collection(name)
    monkeypatch.setenv("KEYDISTILL_HOME", str(tmp_path / "server"))
    monkeypatch.setenv("KEYDISTILL_ENGINE", "server")
    restored = keydistill("restore", tmp_path / "backups")
    assert "stored anew" not in restored.out
    assert stored(keydistill)[-1].items() >= {"shards": 4, "strict_mode": {"max_query_limit": 500}}.items()
