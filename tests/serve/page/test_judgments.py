"""Judgments of people: what is written, that several processes may write, and that a retrain reads it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.assistant.data import judged_pairs
from keydistill.distillation.signals import SignalFiles, check_signals
from keydistill.execution import RetrainOrder
from keydistill.serve.page.judgments import Judgment, JudgmentFiles
from keydistill.settings import load_settings
from tests.serve.conftest import OpenBench
from tests.support.places import ROOT

OWN = {"Origin": "http://service"}


ITEM = {"id": "a1", "title": " Lamp  <b>&\u2028 “x” ", "category_path": "Goods >  lamp", "site": "us"}
WRONG: list[dict[str, Any]] = [
    {"items": [{"title": " "}]},
    {"items": []},
    {"items": [ITEM, ITEM]},
    {"items": [{**ITEM, "site": "a\u0000"}]},
    {"keyphrase": " "},
    {"keyphrase": "x" * 201},
    {"keyphrase": "a\u0000"},
    {"relevant": "yes"},
    {"relevant": None},
    {"note": "n" * 1_001},
    {"colour": 1},
]


def judgment(**changes: Any) -> Judgment:
    values: dict[str, Any] = {
        "item_id": None,
        "title": "Apple iPhone 13 clear case",
        "category_path": "Cell Phones > Cases",
        "site": "us",
        "keyphrase": "iphone 13 case",
        "relevant": True,
        "note": None,
        "key": "shop",
        "collection": "keyphrases-1",
        "student_version": "three",
    }
    return Judgment(**{**values, **changes})


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_what_is_posted_is_written(open_bench: OpenBench, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    body = {
        "items": [ITEM],
        "keyphrase": "Lamp  =BLACK",
        "relevant": False,
        "note": " too\nwide ",
        "collection": "c",
        "student_version": "s",
    }

    async def run() -> None:
        async with open_bench(serve_judgments=folder) as bench:
            assert (await bench.http.post("/v1/page/judgments", json=body, headers=OWN)).status_code == 204
            for wrong in WRONG:
                answer = await bench.http.post("/v1/page/judgments", json={**body, **wrong}, headers=OWN)
                assert answer.status_code == 422, wrong

    asyncio.run(run())
    (kept,) = rows(folder, "judgments")
    assert kept.pop("at")
    assert kept == {
        "item_id": "a1",
        "keyphrase": "lamp =black",
        "site": "us",
        "label": False,
        "judge": "page",
        "note": "too wide",
        "collection": "c",
        "student_version": "s",
    }
    (kept_item,) = rows(folder, "items")
    assert kept_item == {
        "item_id": "a1", "title": "Lamp <b>& “x”", "category_path": "Goods > lamp", "site": "us"
    }  # fmt: skip


def test_what_cannot_be_kept_is_said(open_bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    body = {"items": [{"title": "a"}], "keyphrase": "b", "relevant": True}

    async def run() -> httpx.Response:
        async with open_bench(serve_judgments=tmp_path / "file" / "judgments") as bench:
            answer: httpx.Response = await bench.http.post("/v1/page/judgments", json=body, headers=OWN)
            return answer

    answer = asyncio.run(run())
    assert answer.status_code == 500
    assert str(tmp_path) not in answer.text


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    folder = tmp_path / "signals"
    folder.mkdir()
    tables: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": "a1", "title": "The seller's own title", "site": "us"}],
        "judgments": [{"item_id": "a1", "keyphrase": "iphone 13 case", "site": "us", "label": False, "judge": "llm"}],
        "inventory": [{"keyphrase": "iphone 13 case", "site": "us"}],
    }
    for name, content in tables.items():
        pq.write_table(pa.Table.from_pylist(content), folder / f"{name}.parquet")
    return folder


def test_the_retrain_reads_them(signals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "judgments"
    files = JudgmentFiles(folder)
    files.add(judgment(item_id="a1", title="What somebody pasted", note="a note, “quoted”"))
    files.add(judgment())
    files.add(judgment(keyphrase="iphone case", relevant=False))
    # A person who thinks again: the last word counts.
    files.add(judgment(keyphrase="iphone case", relevant=True, note="after all"))
    files.add(judgment(keyphrase="iphone case", relevant=False, key="batch"))

    warnings: list[str] = []
    order = RetrainOrder(signals=signals, judgments=folder)
    inputs = order.inputs(load_settings(home=tmp_path), warnings.append)
    assert warnings == []
    assert inputs.judgments is not None
    said = {(each["item_id"], each["keyphrase"], each["judge"]): each["label"] for each in inputs.judgments.to_pylist()}
    pasted = judgment().known_id
    assert said == {
        ("a1", "iphone 13 case", "llm"): False,
        ("a1", "iphone 13 case", "page:shop"): True,
        (pasted, "iphone 13 case", "page:shop"): True,
        (pasted, "iphone case", "page:shop"): True,
        (pasted, "iphone case", "page:batch"): False,
    }
    pairs, unknown = judged_pairs(inputs.judgments, inputs.items)
    assert unknown == 0
    assert set(pairs.titles) == {"The seller's own title", "Apple iPhone 13 clear case"}
    assert RetrainOrder(signals=signals).inputs(load_settings(home=tmp_path), warnings.append).judgments is not None


def test_they_may_go_into_the_folder_of_signals_itself(signals: Path) -> None:
    JudgmentFiles(signals).add(judgment(item_id="a1", title="What somebody pasted"))
    files = SignalFiles.of_folder(signals)
    assert [path.name for path in files.judgments] == ["judgments.parquet", "judgments.jsonl"]
    assert [path.name for path in files.items] == ["items.jsonl", "items.parquet"]


def test_the_check_of_signals_reads_them(tmp_path: Path) -> None:
    JudgmentFiles(tmp_path).add(judgment())
    report = check_signals(SignalFiles.of_folder(tmp_path))
    tables = {table: (report.tables[table].rows, report.tables[table].rows_rejected) for table in report.tables}
    assert tables == {"items": (1, 0), "judgments": (1, 0)}


WRITER = """
import sys
from pathlib import Path
from keydistill.serve.page.judgments import Judgment, JudgmentFiles
files = JudgmentFiles(Path(sys.argv[1]))
for number in range(30):
    about = (f"keyphrase {number}", True, "long " * 150, sys.argv[2], None, None)
    files.add(Judgment(None, "a title", None, None, *about))
"""


def test_several_processes_append_whole_lines(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "judgments"), name], cwd=ROOT) for name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    kept = {(each["judge"], each["keyphrase"]) for each in rows(tmp_path / "judgments", "judgments")}
    assert kept == {(f"page:{name}", f"keyphrase {number}") for name in "ab" for number in range(30)}
    assert len(rows(tmp_path / "judgments", "items")) == 60


@pytest.mark.parametrize("torn", [b'{"item_id": "a1", "keyphr', b"x" * 200_000])
@pytest.mark.parametrize("before", [0, 1])
def test_half_a_line_of_a_killed_process_spoils_nothing(tmp_path: Path, torn: bytes, before: int) -> None:
    files = JudgmentFiles(tmp_path)
    for _ in range(before):
        files.add(judgment(keyphrase="first"))
    with (tmp_path / "judgments.jsonl").open("ab") as file:
        file.write(torn)
    files.add(judgment(keyphrase="second"))
    assert [each["keyphrase"] for each in rows(tmp_path, "judgments")] == ["first"] * before + ["second"]
