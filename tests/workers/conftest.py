import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from keydistill.execution import Reindexer
from keydistill.settings import load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.cluster import Cluster
from tests.support.inventories import write_inventory

PART_ROWS = 40
ROWS = 240
Content = dict[str, tuple[str, np.ndarray]]


def content(engine: Engine, name: str) -> Content:
    """Everything in a collection: id to payload and vector."""
    return {
        record.id: (json.dumps(record.payload, sort_keys=True), np.asarray(record.vector))
        for record in engine.scroll(name, with_vectors=True)
    }


def assert_same(content: Content, expected: Content) -> None:
    assert {id: payload for id, (payload, _) in content.items()} == {
        id: payload for id, (payload, _) in expected.items()
    }
    for id, (_, vector) in expected.items():
        np.testing.assert_allclose(content[id][1], vector, atol=1e-3)


@pytest.fixture(scope="session")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inventory(tmp_path_factory.mktemp("inventory") / "inventory.csv", ROWS)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, inventory: Path, tiny_folder: Path) -> Content:
    """What any reindex of the inventory must end in: built in one process, by the embedded engine."""
    settings = load_settings(home=tmp_path_factory.mktemp("expected"), student=str(tiny_folder), part_rows=PART_ROWS)
    with EmbeddedEngine(settings.home) as engine:
        return content(engine, Reindexer(settings, engine).start([inventory]).collection)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("cluster"), tiny_folder, part_rows=PART_ROWS, upsert_batch=20, reuse_vectors=False
    ) as running:
        yield running
