"""The Python of the README does what the page says."""

import re
from typing import Any

import pytest

from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.retrieval.conftest import World
from tests.support.places import ROOT

(BLOCK,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_ten_lines_of_python(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if world.url is None:
        assert isinstance(world.engine, EmbeddedEngine)
        monkeypatch.setenv("KEYDISTILL_HOME", str(world.engine._root))
    else:
        monkeypatch.setenv("KEYDISTILL_ENGINE", "server")
        monkeypatch.setenv("KEYDISTILL_QDRANT_URL", world.url)
    monkeypatch.setenv("KEYDISTILL_ALIAS", world.alias)
    names: dict[str, Any] = {}
    exec(BLOCK, names)
    assert names["answer"].collection == world.names["a"]
