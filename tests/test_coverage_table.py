"""Coverage as CI prints it."""

from pathlib import Path

from tests.support.coverage_table import rooms, table


def test_a_file_behind_two_paths_is_one(tmp_path: Path) -> None:
    (tmp_path / "ingest").mkdir()
    (tmp_path / "keydistill").mkdir()
    (tmp_path / "keydistill" / "ingest").symlink_to("../ingest")
    files = {
        "keydistill/ingest/gate.py": {"executed_lines": [1, 2], "missing_lines": [3, 4]},
        "ingest/gate.py": {"executed_lines": [3], "missing_lines": [1, 2, 4]},
        "keydistill/errors.py": {"executed_lines": [], "missing_lines": [1]},
    }
    by_room = rooms(files, tmp_path)
    assert by_room == {"ingest": (3, 4), "keydistill": (0, 1)}
    assert table(by_room).splitlines() == [
        "ingest               4 lines  75.0% covered",
        "keydistill           1 lines   0.0% covered",
        "all                  5 lines  60.0% covered",
    ]
