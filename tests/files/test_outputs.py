"""An output never replaces what it is made from, however its path is spelled."""

import os
from pathlib import Path

import pytest

from keydistill.errors import InputError
from keydistill.files import check_no_input_is_replaced


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "items.csv"
    path.parent.mkdir()
    path.write_text("item_id,title\n1,lens\n")
    return path


@pytest.mark.parametrize("spelling", ["same", "dots", "relative", "symbolic link", "hard link", "linked folder"])
def test_an_input_by_any_path_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    root = source.parent.parent
    monkeypatch.chdir(root)
    link = root / "link.csv"
    if spelling == "symbolic link":
        link.symlink_to(source)
    elif spelling == "hard link":
        os.link(source, link)
    elif spelling == "linked folder":
        (root / "elsewhere").symlink_to(source.parent)
    out = {
        "same": source,
        "dots": source.parent / ".." / "in" / "items.csv",
        "relative": Path("in/items.csv"),
        "linked folder": root / "elsewhere" / "items.csv",
    }.get(spelling, link)
    with pytest.raises(InputError, match=r"is the input .* name another output"):
        check_no_input_is_replaced(out, [root / "other.csv", source])


@pytest.mark.parametrize("ending", ["rejects", "unlabelled"])
def test_a_file_beside_the_output_is_an_output_too(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"out.csv.{ending}.parquet"
    source.touch()
    with pytest.raises(InputError, match=f"{ending}.parquet is the input"):
        check_no_input_is_replaced(tmp_path / "out.csv", [source])


def test_folders_are_not_written_over_what_they_hold(source: Path) -> None:
    with pytest.raises(InputError, match=r"the input .*items\.csv is in it"):
        check_no_input_is_replaced(source.parent, [source])
    with pytest.raises(InputError, match=r"items\.csv is a file of the input"):
        check_no_input_is_replaced(source, [source.parent])


def test_other_outputs_beside_an_input_are_fine(source: Path) -> None:
    check_no_input_is_replaced(source.with_name("items.out.csv"), [source])
    # A file with the same text, and folders that are new.
    twin = source.with_name("twin.csv")
    twin.write_bytes(source.read_bytes())
    check_no_input_is_replaced(twin, [source])
    check_no_input_is_replaced(source.parent / "new", [source, source.parent])
    check_no_input_is_replaced(source.with_name("new.csv"), [source.parent])
