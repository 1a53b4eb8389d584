"""CSV that we write: lists that are read again, and texts that no spreadsheet takes for formulas."""

import csv
from pathlib import Path

import pyarrow as pa
import pytest

from keydistill.tables import USUAL, Conventions, open_table
from tests.support.read_tables import cells_of

SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("keyphrase", pa.string()),
        ("score", pa.float64()),
        ("category_ids", pa.list_(pa.string())),
    ]
)
TEXTS = ["=1+1", "+49", "-5 degrees", "@home", "\tx", "＝cmd", "'quoted", "a=b", ""]  # noqa: RUF001


def rows(text: str) -> list[dict[str, object]]:
    return [{"item_id": text, "keyphrase": text, "score": -0.5, "category_ids": [text, r"b\|c"]}]


@pytest.mark.parametrize("text", TEXTS)
def test_formulas_are_kept_or_made_harmless(tmp_path: Path, text: str) -> None:
    harmless = Conventions(escape_formulas=True)
    for conventions in (USUAL, harmless):
        path = tmp_path / "out.csv"
        with open_table(path, SCHEMA, conventions) as write:
            write(rows(text))
        with path.open(newline="", encoding="utf-8") as file:
            (_, (item_id, keyphrase, score, categories)) = list(csv.reader(file))
        shown = f"'{text}" if conventions is harmless and text[:1] in ("=", "+", "-", "@", "\t", "＝") else text  # noqa: RUF001
        assert (item_id, keyphrase, score) == (shown, shown, "-0.5")
        assert categories == rf"{shown}|b\|c"
        # Who reads it under the same settings gets the texts back.
        assert cells_of(path, ["item_id", "keyphrase"], conventions=conventions)["keyphrase"] == [text]


def test_other_formats_hold_texts_as_they_are(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.parquet"):
        with open_table(tmp_path / name, SCHEMA, Conventions(escape_formulas=True)) as write:
            write(rows("=1"))
        assert cells_of(tmp_path / name, ["keyphrase"])["keyphrase"] == ["=1"]
