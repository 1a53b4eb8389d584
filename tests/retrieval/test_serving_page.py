"""The code of docs/serving.md does what the page says."""

import re
from typing import Any

import pytest
from qdrant_client import QdrantClient

from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.retrieval.conftest import TITLES, World
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "serving.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def block_with(text: str) -> str:
    """The one block of the page that has this text."""
    (block,) = [block for block in BLOCKS if text in block]
    return block


def test_the_retriever_of_the_settings(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if world.url is None:
        assert isinstance(world.engine, EmbeddedEngine)
        monkeypatch.setenv("KEYDISTILL_HOME", str(world.engine._root))
    else:
        monkeypatch.setenv("KEYDISTILL_ENGINE", "server")
        monkeypatch.setenv("KEYDISTILL_QDRANT_URL", world.url)
    monkeypatch.setenv("KEYDISTILL_ALIAS", world.alias)
    exec(block_with("LiveRetriever.open("), {})
    assert capsys.readouterr().out.startswith(f"{world.names['a']} {world.students['a'].version}")


def test_a_service_that_queries_qdrant_itself(world: World) -> None:
    if world.url is None:
        pytest.skip("nobody else queries the embedded engine")
    names: dict[str, Any] = {}
    exec(block_with("ready_query("), names)
    client = QdrantClient(url=world.url, check_compatibility=False)
    doomed = world.build("b")

    def right(name: str) -> set[str]:
        return {hit.keyphrase for hit in world.of(name).recommend(TITLES[:1], 10)[0]}

    with world.open(poll_seconds=3_600) as retriever:
        assert set(names["keyphrases"](retriever, client, TITLES[0])) == right("a")
        world.swap(doomed)
        retriever.refresh()
        assert set(names["keyphrases"](retriever, client, TITLES[0])) == right(doomed)
        world.swap("a2")
        world.engine.drop(doomed)
        assert set(names["keyphrases"](retriever, client, TITLES[0])) == right("a2")
        assert retriever.status().collection == world.names["a2"]
    client.close()
