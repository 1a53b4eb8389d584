"""The id of an installation, which a home keeps."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keydistill.errors import RunError
from keydistill.runs.file_store import FileRunStore
from keydistill.runs.installation import installation_of, remember_installation


def test_is_made_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: installation_of(tmp_path), range(8)))
    assert ids == {FileRunStore(tmp_path).installation()}
    assert installation_of(tmp_path / "other") not in ids


def test_what_others_agreed_on_is_kept(tmp_path: Path) -> None:
    remember_installation(tmp_path, "theirs")
    assert installation_of(tmp_path) == "theirs"


@pytest.mark.parametrize("content", ["", "{", "5", '""'])
def test_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "installation.json").write_text(content)
    with pytest.raises(RunError, match=r"installation\.json"):
        installation_of(tmp_path)
