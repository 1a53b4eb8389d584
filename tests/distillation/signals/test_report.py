import json
from pathlib import Path
from typing import Any

import pytest

from keydistill.distillation.signals import SignalFiles, check_signals
from keydistill.errors import InputError
from tests.support.heard_progress import HeardProgress
from tests.support.present import present


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    texts = {
        "items": "item_id,title\n1,Desk\n2,Lamp\n3,\n",
        "clicks": "item_id,keyphrase,position,impressions,clicks\n"
        "1,desk,1,1000,200\n1,desk,2,1000,100\n1,Desk,2,1000,100\n9,lamp,1,50,0\n",
        "judgments": "item_id,keyphrase,label\n1,desk,yes\n2,desk,no\n2,lamp,E\n8,lamp,no\n",
        "search_relevance": "item_id,keyphrase,score\n1,desk,0.9\n2,desk,0.1\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: [tmp_path / f"{name}.csv"] for name in texts}


def test_counts_and_cross_checks(files: Any) -> None:
    report = check_signals(SignalFiles(**files), max_reject_share=0.4, search_threshold=0.5)
    assert report.passes
    items, clicks = report.tables["items"], report.tables["clicks"]
    assert (items.rows_read, items.rows_rejected, items.rows, items.unknown_item_share) == (3, 1, 2, None)
    assert items.examples[0].line == 4
    assert (clicks.rows_read, clicks.rows_merged, clicks.rows, clicks.keyphrases) == (4, 1, 3, 2)
    assert clicks.unknown_item_share == pytest.approx(1 / 3, abs=1e-4)
    assert clicks.facts == {
        "impressions": 3_050,
        "clicks": 400,
        "click_through_rate": 0.131148,
        "never_clicked_share": 0.3333,
    }
    assert report.tables["judgments"].facts == {"positive_share": 0.5}
    assert report.tables["judgments"].unknown_item_share == 0.25
    assert report.tables["search_relevance"].facts == {"passed_share": 0.5}
    assert [(row["position"], row["impressions"], row["clicks"]) for row in present(report.curve).rows()] == [
        (1, 1_050, 200),
        (2, 2_000, 200),
    ]
    # The one pair that moved: a rate of 0.2 at the first position, 0.1 at the second.
    assert present(report.eta).level == "pair"
    assert present(report.eta).eta == pytest.approx(1.0)
    json.dumps(report.as_dict())


def test_too_many_rejects_or_no_row_do_not_pass(files: Any) -> None:
    assert not check_signals(SignalFiles(items=files["items"]), max_reject_share=0.05).passes
    assert check_signals(SignalFiles(items=files["items"]), max_reject_share=0.34).passes
    only_bad = files["items"][0].with_name("bad.csv")
    only_bad.write_text("item_id,title\n1,\n")
    assert not check_signals(SignalFiles(items=[only_bad]), max_reject_share=1.0).passes


def test_progress_names_the_table(files: Any) -> None:
    progress = HeardProgress()
    check_signals(SignalFiles(**files), max_reject_share=0.4, progress=progress)
    names = ["items", "clicks", "search relevance", "judgments"]
    assert progress.steps == [(name, None, "rows") for name in names]
    assert progress.counts == [3, 4, 2, 4]


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file was named"):
        check_signals(SignalFiles())
    with pytest.raises(InputError, match="holds no signals"):
        SignalFiles.of_folder(tmp_path)
