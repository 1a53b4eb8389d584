"""What is written: tables, their columns, the same bytes for the same settings, complete or not at all."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputError, SettingsError
from keydistill.simulation import MarketplaceSettings, simulate
from keydistill.simulation import keyphrases as keyphrases_module
from keydistill.simulation import marketplace as marketplace_module
from keydistill.simulation.tables import SCHEMAS
from keydistill.simulation.wording.catalogue import SLOT, compile_catalogue
from tests.simulation.conftest import Make, Written
from tests.support.heard_progress import HeardProgress
from tests.support.places import ROOT

TINY = MarketplaceSettings(items=40, keyphrases=120, leaf_categories=5, seed=1)


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_every_table_has_its_columns_and_rows(market: Written) -> None:
    assert set(market.summary.rows) == set(SCHEMAS)
    assert {path.name for path in market.folder.iterdir()} == {f"{name}.parquet" for name in SCHEMAS} | {
        "simulation.json"
    }
    for name, schema in SCHEMAS.items():
        table = pq.read_table(market.folder / f"{name}.parquet")
        assert table.schema.equals(schema), name
        assert table.num_rows == market.summary.rows[name] > 0, name
    assert market.summary.rows["items"] == 2_000
    assert market.summary.rows["inventory"] == 8_000


def test_every_table_and_column_is_documented() -> None:
    text = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    for name, schema in SCHEMAS.items():
        section = text.split(f"\n### `{name}.parquet`")[1].split("\n### ")[0].split("\n## ")[0]
        for column in schema:
            assert f"| `{column.name}` | {_type(column.type)} |" in section, (name, column.name)


def _type(arrow: object) -> str:
    return {"list<element: string>": "list of string", "list<item: string>": "list of string"}.get(
        str(arrow), str(arrow)
    )


def test_keys_are_unique_and_pairs_exist(market: Written) -> None:
    items = {row["item_id"] for row in market.rows("items")}
    keyphrases = {row["keyphrase"] for row in market.rows("inventory")}
    assert len(items) == 2_000
    for name in ("truth", "search_relevance", "clicks", "judgments"):
        pairs = market.pairs(name)
        assert len(pairs) == market.summary.rows[name], name
        assert {item for item, _ in pairs} <= items
        assert {keyphrase for _, keyphrase in pairs} <= keyphrases


def test_manifest_says_how_it_was_made(market: Written) -> None:
    manifest = json.loads((market.folder / "simulation.json").read_text(encoding="utf-8"))
    assert manifest["settings"]["seed"] == 3
    assert manifest["rows"] == market.summary.rows
    written = files(market.folder)
    assert manifest["sha256"] == {name: written[f"{name}.parquet"] for name in SCHEMAS}


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_writes_the_same_bytes(tmp_path: Path, hash_seed: str) -> None:
    simulate(tmp_path / "here", TINY)
    code = (
        "import sys; from pathlib import Path; from keydistill.simulation import MarketplaceSettings, simulate;"
        "simulate(Path(sys.argv[1]), MarketplaceSettings(items=40, keyphrases=120, leaf_categories=5, seed=1))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, tmp_path / "there"], check=True, env=environment, cwd=tmp_path)
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_another_seed_writes_other_tables(make: Make) -> None:
    one, other = make("one", seed=1), make("other", seed=2)
    assert all(one.summary.sha256[name] != other.summary.sha256[name] for name in SCHEMAS)


def test_a_knob_leaves_the_tables_before_its_stage_alone(make: Make) -> None:
    one, other = make("one"), make("other", position_bias=0.0, judge_false_positive_rate=0.5)
    same = {name for name in SCHEMAS if one.summary.sha256[name] == other.summary.sha256[name]}
    assert same == {"items", "inventory", "meanings", "truth", "search_relevance"}


def test_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(InputError, match="not empty"):
            simulate(tmp_path, TINY, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(InputError, match="not a folder"):
        simulate(tmp_path / "out", TINY, force=True)


def test_marketplace_is_replaced_only_with_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = simulate(out, TINY)
    with pytest.raises(InputError, match="--force"):
        simulate(out, TINY)
    (out / "stale.parquet").touch()
    second = simulate(out, MarketplaceSettings(items=40, keyphrases=120, leaf_categories=5, seed=2), force=True)
    assert first.sha256 != second.sha256
    assert "stale.parquet" not in files(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("existing", [False, True])
def test_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    out = tmp_path / "out"
    before = {}
    if existing:
        simulate(out, TINY)
        before = files(out)
    written = []

    def fail_at_third(path: Path, *rest: object) -> None:
        written.append(path)
        path.touch()
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(marketplace_module, "write_table", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        simulate(out, TINY, force=True)
    assert not (written[0].parent / "simulation.json").exists()
    assert written[0].parent != out
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existing else [])
    assert not existing or files(out) == before


def test_stages_are_told_in_order(tmp_path: Path) -> None:
    progress = HeardProgress()
    simulate(tmp_path / "out", TINY, progress)
    stages = [stage for stage, _, _ in progress.steps]
    assert stages == [
        "items",
        "keyphrases",
        "truth",
        "search filter",
        "clicks",
        "judgments",
        "writing",
    ]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"items": 0}, "items is 0; expected a whole number from 1 to"),
        ({"items": 2.5}, "items is 2.5; expected a whole number"),
        ({"items": True}, "items is True"),
        ({"keyphrases": -1}, "--keyphrases"),
        ({"position_bias": -0.1}, "position_bias is -0.1; expected a number from 0.0 to 5.0"),
        ({"position_bias": float("nan")}, "position_bias is nan"),
        ({"judge_false_positive_rate": 1.5}, "expected a number from 0.0 to 1.0; set it with --judge-false-pos"),
        ({"search_noise": "much"}, "search_noise is 'much'"),
        ({"sites": ()}, "sites is"),
        ({"sites": ("US", "US")}, "sites is"),
    ],
)
def test_bad_settings_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        MarketplaceSettings(**knobs)
    assert message in str(caught.value)


def test_too_many_leaf_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leaf_categories is 999, but the catalogue has"):
        simulate(tmp_path / "out", MarketplaceSettings(items=5, keyphrases=20, leaf_categories=999))


def test_more_keyphrases_than_the_catalogue_makes_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"5,000,000 keyphrases were asked for, but the catalogue makes about [\d,]+"):
        simulate(tmp_path / "out", MarketplaceSettings(items=5, keyphrases=5_000_000, leaf_categories=1))
    assert not (tmp_path / "out").exists()


def test_running_dry_is_an_error_that_says_how_far_it_came(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyphrases_module, "word_query", lambda row, *rest: f"thing {row[SLOT['color']]}")
    with pytest.raises(
        InputError, match=r"2,000 keyphrases were asked for, but the catalogue makes about \d\d different"
    ):
        make(keyphrases=2_000)


def test_the_limit_is_what_the_catalogue_can_mean(make: Make) -> None:
    possible = compile_catalogue(("US",), 2).meanings()
    assert possible > 100_000
    with pytest.raises(InputError, match=f"about {possible:,} different"):
        make("more", leaf_categories=2, keyphrases=possible + 1)
