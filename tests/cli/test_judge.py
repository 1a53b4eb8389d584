import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from keydistill.encoders.judge import PromptTemplate
from tests.cli.conftest import Command
from tests.support.chat_server import ChatServer, completion

PAIRS = [
    {"item_id": "1", "keyphrase": "red shoes", "title": "Red running shoes"},
    {"item_id": "1", "keyphrase": "Blue shoes", "title": "Red running shoes"},
    {"item_id": "2", "keyphrase": "iphone case", "title": "Case for iPhone 13"},
    {"item_id": "2", "keyphrase": "iphone", "title": "Case for iPhone 13"},
]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", PAIRS)


def test_judges_a_file_at_an_endpoint(keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    result = keydistill("judge", pairs, "--out", out, "--endpoint", server.url, "--model", "m")
    assert (result.status, result.err) == (0, "")
    assert f"4 of 4 pairs judged (75% yes), in {out}" in result.out
    assert f"m, prompt {PromptTemplate.load().version}: asked about 4, 400 tokens in, 4 out" in result.out
    assert pq.read_table(out)["label"].to_pylist() == [True, False, True, True]
    again = json.loads(keydistill("judge", pairs, "--out", out, "--endpoint", server.url, "--model", "m", "--json").out)
    assert (again["labelled"], again["asked"], again["usage"]) == (4, 0, {"input_tokens": 0, "output_tokens": 0})
    assert len(server.asked) == 4


def test_settings_say_where_the_judge_is(
    keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tmp_path / "mine.toml"
    prompt.write_text(
        'name = "mine"\nsystem = "S"\nuser = "Listing: {item}\\nKeyphrase: {keyphrase}"\nreminder = "R"\n'
    )
    monkeypatch.setenv("KEYDISTILL_JUDGE_URL", server.url)
    monkeypatch.setenv("KEYDISTILL_JUDGE_MODEL", "from-settings")
    monkeypatch.setenv("KEYDISTILL_JUDGE_API_KEY", "very-secret")
    monkeypatch.setenv("KEYDISTILL_JUDGE_REQUEST", '{"top_logprobs": 5, "max_tokens": null}')
    result = keydistill("judge", pairs, "--out", tmp_path / "out.csv", "--prompt", prompt)
    assert result.status == 0
    assert "from-settings, prompt mine-" in result.out
    assert server.headers[0]["authorization"] == "Bearer very-secret"
    assert server.bodies[0]["top_logprobs"] == 5
    assert "max_tokens" not in server.bodies[0]
    for shown in (keydistill("settings"), keydistill("settings", "--json")):
        assert "very-secret" not in shown.out
    server.always = {"status": 401, "message": "bad key very-secret"}
    result = keydistill("judge", pairs, "--out", tmp_path / "o.csv", "--model", "other")
    assert result.status == 1
    assert len(result.err.splitlines()) == 1
    assert "very-secret" not in result.out + result.err


def test_a_dry_run_asks_nobody_and_leaves_nothing(
    keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path
) -> None:
    options = ("--endpoint", server.url, "--model", "m", "--dry-run", "--price-per-million-input", 1_000)
    result = keydistill("judge", pairs, *options)
    assert result.status == 0
    assert "dry run: nobody was asked" in result.out
    plan = json.loads(keydistill("judge", pairs, *options, "--price-per-million-output", 1e6, "--json").out)
    assert (plan["pairs"], plan["new"], plan["cached"]) == (4, 4, 0)
    assert plan["cost"] == pytest.approx(plan["usage"]["input_tokens"] / 1_000 + plan["usage"]["output_tokens"])
    assert server.asked == []
    assert not (tmp_path / "home").exists()
    keydistill(
        "judge", pairs, "--out", tmp_path / "o.csv", "--endpoint", server.url, "--model", "m", "--budget-pairs", 1
    )
    plan = json.loads(keydistill("judge", pairs, *options, "--json").out)
    assert (plan["new"], plan["cached"], len(server.asked)) == (3, 1, 1)


def test_what_has_no_label_is_said_on_stderr(
    keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path
) -> None:
    server.answer = lambda title, keyphrase: completion("I think so")
    out = tmp_path / "out.csv"
    result = keydistill("judge", pairs, "--out", out, "--endpoint", server.url, "--model", "m", "--budget-pairs", 3)
    assert result.status == 1
    assert "error: none of 3 pairs got a label; one of them: neither yes nor no: 'I think so'" in result.err
    assert "0 of 4 pairs judged, in" in result.out
    assert "6 answers were neither yes nor no" in result.err
    assert f"3 pairs have no label; see {out}.unlabelled.parquet" in result.err
    assert f"1 pairs are beyond the budget; see {out}.unlabelled.parquet" in result.err


def test_titles_come_from_an_items_file(keydistill: Command, server: ChatServer, tmp_path: Path) -> None:
    pairs = write(
        tmp_path / "p.jsonl", [{"item_id": "1", "keyphrase": "red shoes"}, {"item_id": "9", "keyphrase": "x"}]
    )
    items = write(
        tmp_path / "i.jsonl", [{"item_id": "1", "title": "Red shoes", "category_path": "A > B", "site": "US"}]
    )
    out = tmp_path / "out.parquet"
    result = keydistill("judge", pairs, "--items", items, "--out", out, "--endpoint", server.url, "--model", "m")
    assert result.status == 0
    assert server.asked == [("Red shoes", "red shoes")]
    assert '"category": ["A", "B"]' in server.bodies[0]["messages"][1]["content"]
    assert pq.read_table(out)["site"].to_pylist() == ["US"]
    assert "1 rows were no pairs" in result.err


HUMAN = [
    {"item_id": "1", "keyphrase": "red shoes", "label": "yes"},
    {"item_id": "1", "keyphrase": "blue shoes", "label": "no"},
    {"item_id": "2", "keyphrase": "iphone case", "label": "yes"},
    {"item_id": "2", "keyphrase": "iphone", "label": "no"},
    {"item_id": "7", "keyphrase": "unheard of", "label": "no"},
]


def test_agreement_with_people(keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path) -> None:
    human = write(tmp_path / "human.jsonl", HUMAN)
    options = ("--out", tmp_path / "out.csv", "--endpoint", server.url, "--model", "m", "--human", human)
    result = keydistill("judge", pairs, *options)
    assert result.status == 0
    assert "against people, 4 pairs" in result.out
    assert "accuracy 0.750, Cohen's kappa 0.500" in result.out
    agreement = json.loads(keydistill("judge", pairs, *options, "--json").out)["agreement"]
    assert (agreement["both_yes"], agreement["judge_yes"], agreement["people_yes"], agreement["both_no"]) == (
        2,
        1,
        0,
        1,
    )
    # Three at 0.92 of which two are right, one at 0.2 that is right: (3 * |0.92 - 2/3| + |0.2 - 0|) / 4.
    assert agreement["ece"] == pytest.approx((3 * (0.92 - 2 / 3) + 0.2) / 4, abs=1e-6)
    assert [(one["low"], one["pairs"]) for one in agreement["calibration"]] == [(0.2, 1), (0.9, 3)]


def test_labels_are_a_judge(keydistill: Command, pairs: Path, tmp_path: Path) -> None:
    human = write(tmp_path / "human.jsonl", HUMAN[:3])
    out = tmp_path / "out.parquet"
    result = keydistill("judge", pairs, "--out", out, "--labels", human)
    assert result.status == 0
    assert pq.read_table(out)["label"].to_pylist() == [True, False, True]
    assert pq.read_table(out)["judge"].to_pylist() == ["human"] * 3
    assert "1 pairs have no label" in result.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (
            "--out o.csv",
            2,
            "there is no judge; give --endpoint and --model, or one of --local, --labels and --simulation",
        ),
        ("--endpoint http://127.0.0.1:1/v1 --out o.csv", 2, "no model"),
        ("--endpoint ftp://x --model m --out o.csv", 2, "no http address"),
        ("--labels a.csv --local b --out o.csv", 2, "not both"),
        ("--labels a.csv", 2, "give --out FILE, or --dry-run"),
        ("--labels nowhere.csv --out o.csv", 1, "nowhere.csv does not exist"),
        ("--local nowhere --out o.csv", 1, "no language model"),
        ("--labels a.csv --dry-run --human b.csv", 2, "leave one out"),
        ("--endpoint http://127.0.0.1:1/v1 --model m --out o.txt", 1, "unknown extension"),
        ("--endpoint http://127.0.0.1:1/v1 --model m --out o.csv --human nowhere.csv", 1, "nowhere.csv does not exist"),
        (
            "--endpoint http://127.0.0.1:1/v1 --model m --out o.csv --prompt nowhere.toml",
            1,
            "nowhere.toml cannot be read",
        ),
        ("--endpoint http://127.0.0.1:1/v1 --model m --out o.csv --concurrency 0", 2, "judge_concurrency"),
    ],
)
def test_mistakes_are_one_line(keydistill: Command, pairs: Path, options: str, status: int, message: str) -> None:
    result = keydistill("judge", pairs, *options.split())
    assert result.status == status
    assert message in result.err
    assert "Traceback" not in result.err
    assert not Path("o.csv").exists()


def test_the_cache_is_where_it_is_named(keydistill: Command, server: ChatServer, pairs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere" / "c.sqlite"
    keydistill("judge", pairs, "--out", "o.csv", "--endpoint", server.url, "--model", "m", "--cache", cache)
    with sqlite3.connect(cache) as database:
        assert database.execute("SELECT count(*) FROM judgments").fetchone() == (4,)
    database.close()
    assert not (tmp_path / "home").exists()
