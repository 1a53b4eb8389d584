"""The parts of a collection's folder."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from keydistill.capacity.parts import disk_of


def test_what_goes_while_it_is_looked_at_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("payload_storage", "temporary/payload_index", "vector_storage"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "data").write_bytes(os.urandom(4096))
    scandir = os.scandir

    def losing(path: Any) -> Any:
        if str(path).endswith("temporary/payload_index"):
            shutil.rmtree(path, ignore_errors=True)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", losing)
    sizes = disk_of(tmp_path)
    assert sizes["payload"] >= 4096
    assert sizes["vectors"] >= 4096
    assert not sizes["indexes"]
