import csv
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keydistill.distillation.pairs.judging import judge_pairs, plan_judging
from keydistill.distillation.pairs.judgment_cache import JudgmentCache
from keydistill.distillation.pairs.judgment_files import JUDGMENT_SCHEMA
from keydistill.encoders.judge import ChatJudge, ChatSettings, Judgment, LabelTable, PromptTemplate
from keydistill.errors import InputError, JudgeError, JudgeUnavailableError, StorageError
from tests.support.chat_server import ChatServer
from tests.support.places import ROOT
from tests.support.present import present

PROMPT = PromptTemplate.load()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def judge_of(server: ChatServer, **options: object) -> ChatJudge:
    settings: dict[str, Any] = {"url": server.url, "model": "m", "backoff_seconds": 0.001, "retries": 2, **options}
    return ChatJudge(ChatSettings(**settings), PROMPT)


def write_pairs(path: Path, count: int, start: int = 0) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "keyphrase", "title", "site"])
        for number in range(start, start + count):
            # Every other one is right by its words.
            keyphrase = "red shoes" if number % 2 == 0 else "blue shoes"
            writer.writerow([f"i{number}", keyphrase, f"Red shoes {number}", "US"])
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[JudgmentCache]:
    with JudgmentCache(tmp_path / "cache.sqlite") as opened:
        yield opened


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_judgments_in_every_format_in_the_order_of_the_pairs(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path, extension: str
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 30)
    out = tmp_path / f"out.{extension}"
    summary = judge_pairs(judge_of(server), [pairs], out, cache=cache)
    if extension == "parquet":
        assert pq.read_schema(out).equals(JUDGMENT_SCHEMA)
        rows = pq.read_table(out).to_pylist()
    elif extension == "csv":
        rows = list(csv.DictReader(out.read_text().splitlines()))
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["item_id"] for row in rows] == [f"i{number}" for number in range(30)]
    assert [str(row["label"]) == "True" for row in rows] == [number % 2 == 0 for number in range(30)]
    assert float(rows[0]["probability"]) == pytest.approx(0.92)
    assert {(row["judge"], row["prompt_version"], row["site"]) for row in rows} == {("m", PROMPT.version, "US")}
    assert (summary.pairs, summary.labelled, summary.yes, summary.asked) == (30, 30, 15, 30)
    assert summary.usage.input_tokens == 3_000
    assert (summary.unlabelled_file, summary.rejects_file) == (None, None)
    assert {file.name for file in tmp_path.iterdir() if "cache" not in file.name} == {out.name, "pairs.csv"}


def test_equal_pairs_are_asked_about_once(server: ChatServer, cache: JudgmentCache, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"item_id": "1", "keyphrase": "Red  Shoes", "title": "Red shoes"},
        {"item_id": "1", "keyphrase": "red shoes", "title": "Red shoes"},
        {"item_id": "2", "keyphrase": "red shoes", "title": "Red shoes"},
        {"item_id": "2", "keyphrase": "red shoes", "title": "Red shoes", "category_path": "A"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 3))
    summary = judge_pairs(judge_of(server), [path, path], tmp_path / "out.parquet", cache=cache)
    assert (summary.labelled, summary.asked, len(server.asked)) == (24, 2, 2)
    again = judge_pairs(judge_of(server), [path], tmp_path / "out.parquet", cache=cache)
    assert (again.labelled, again.asked, len(server.asked)) == (12, 0, 2)
    other = judge_pairs(judge_of(server, model="n"), [path], tmp_path / "out.parquet", cache=cache)
    assert (other.asked, len(server.asked)) == (2, 4)
    assert cache.counts() == {("m", PROMPT.version): 2, ("n", PROMPT.version): 2}


def test_malformed_answers_end_in_the_file_of_the_unlabelled(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 6)
    out = tmp_path / "out.parquet"
    judge = judge_of(server, asks=2, concurrency=1)
    server.order(None, "sentence", "other words", None)
    summary = judge_pairs(judge, [pairs], out, cache=cache)
    assert (summary.labelled, summary.unlabelled, summary.malformed, summary.asked) == (5, 1, 2, 6)
    (row,) = pq.read_table(summary.unlabelled_file).to_pylist()
    assert (row["item_id"], row["reason"]) == ("i1", "malformed_answer")
    assert "i1" not in pq.read_table(out)["item_id"].to_pylist()
    # It is a file of pairs: judged on its own, and then nothing is left over.
    later = judge_pairs(judge, [present(summary.unlabelled_file)], tmp_path / "rest.parquet", cache=cache)
    assert (later.labelled, later.asked) == (1, 1)
    assert judge_pairs(judge, [pairs], out, cache=cache).labelled == 6
    assert not present(summary.unlabelled_file).exists()


def test_a_budget_of_pairs_stops_cleanly_and_goes_on_later(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 20)
    out = tmp_path / "out.parquet"
    first = judge_pairs(judge_of(server), [pairs], out, cache=cache, budget_pairs=7)
    assert (first.asked, first.labelled, first.unjudged, first.unlabelled) == (7, 7, 13, 0)
    assert set(pq.read_table(first.unlabelled_file)["reason"].to_pylist()) == {"budget"}
    second = judge_pairs(judge_of(server), [pairs], out, cache=cache, budget_pairs=13)
    assert (second.asked, second.labelled, second.unjudged) == (13, 20, 0)
    assert set(server.times.values()) == {1}
    assert judge_pairs(judge_of(server), [pairs], out, cache=cache, budget_pairs=0).labelled == 20


def test_a_budget_of_tokens_is_kept(server: ChatServer, cache: JudgmentCache, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 40)
    judge = judge_of(server, concurrency=4)
    plan = plan_judging(judge, [pairs], cache=cache)
    estimate = plan.usage.total / plan.new
    # The server counts 101 tokens a pair, which is less than the estimate; what is in flight counts as estimated.
    budget = 2_000
    summary = judge_pairs(judge, [pairs], tmp_path / "out.csv", cache=cache, budget_tokens=budget)
    assert summary.usage.total == 101 * summary.asked
    assert summary.usage.total <= budget
    assert summary.usage.total + estimate > budget - 4 * estimate
    assert summary.unjudged == 40 - summary.asked > 0
    nothing = judge_pairs(judge, [pairs], tmp_path / "out.csv", cache=cache, budget_tokens=1)
    assert nothing.asked == 0
    assert nothing.labelled == summary.labelled


def test_the_plan_asks_nobody(server: ChatServer, cache: JudgmentCache, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 10)
    with pairs.open("a") as file:
        file.write("i0,red shoes,Red shoes 0,US\ni1,,x,US\n")
    plan = plan_judging(judge_of(server), [pairs], cache=cache)
    assert (plan.pairs, plan.rejected, plan.new, plan.cached) == (11, 1, 10, 0)
    assert 2_000 < plan.usage.input_tokens < 5_000
    judge_pairs(judge_of(server), [pairs], tmp_path / "o.csv", cache=cache, budget_pairs=4)
    requests_before = len(server.asked)
    plan = plan_judging(judge_of(server), [pairs], cache=cache)
    assert (plan.new, plan.cached, len(server.asked)) == (6, 4, requests_before)


def test_rows_that_are_no_pairs_are_kept_apart(server: ChatServer, cache: JudgmentCache, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("item_id,keyphrase,title\n1,red,Red\n,red,Red\n2,red,\n3,red,Red shoes\n")
    summary = judge_pairs(judge_of(server), [pairs], tmp_path / "out.csv", cache=cache)
    assert (summary.labelled, summary.rejected) == (2, 2)
    rejects = pq.read_table(summary.rejects_file).to_pylist()
    assert [(reject["row"], reject["column"], reject["reason"]) for reject in rejects] == [
        (2, "item_id", "empty"),
        (3, "title", "empty"),
    ]


def test_one_pair_that_the_endpoint_cannot_take_stops_nothing(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 12)
    server.order(None, 400, None, 500, 500, 500, None)
    summary = judge_pairs(judge_of(server, concurrency=1), [pairs], tmp_path / "out.csv", cache=cache)
    assert (summary.labelled, summary.unlabelled) == (10, 2)
    reasons = pq.read_table(summary.unlabelled_file)["reason"].to_pylist()
    assert reasons == ["refused", "unreachable"]


@pytest.mark.parametrize(
    ("order", "error", "requests"), [(400, JudgeError, 1), (401, JudgeError, 1), (500, JudgeUnavailableError, 3)]
)
def test_an_endpoint_that_answers_nothing_stops_the_run_at_once(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path, order: str, error: Any, requests: Any
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 12)
    server.always = order
    with pytest.raises(error) as caught:
        judge_pairs(judge_of(server, concurrency=1), [pairs], tmp_path / "out.csv", cache=cache)
    assert len(server.asked) == requests
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("order", [500, 400])
def test_an_endpoint_that_breaks_down_stops_the_run_and_nothing_is_lost(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path, order: str
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 30)
    server.order(*[None] * 10)
    server.always = order
    with pytest.raises(JudgeError, match="10 judgments of this run are kept"):
        judge_pairs(judge_of(server, concurrency=1, retries=0), [pairs], tmp_path / "out.csv", cache=cache)
    assert len(server.asked) == 15
    server.always = None
    server.asked.clear()
    summary = judge_pairs(judge_of(server), [pairs], tmp_path / "out.csv", cache=cache)
    assert (summary.labelled, summary.asked, len(server.asked)) == (30, 20, 20)


def test_a_model_that_never_says_yes_or_no_is_not_paid_for_long(
    server: ChatServer, cache: JudgmentCache, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 200)
    server.order(*[None] * 5)
    server.always = "sentence"
    with pytest.raises(JudgeError, match="50 pairs in a row"):
        judge_pairs(judge_of(server, asks=1, concurrency=1), [pairs], tmp_path / "out.csv", cache=cache)
    assert len(server.asked) == 55


def test_a_failed_run_leaves_the_older_output(server: ChatServer, cache: JudgmentCache, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 3)
    out = tmp_path / "out.csv"
    out.write_text("older")
    server.always = 401
    with pytest.raises(JudgeError):
        judge_pairs(judge_of(server), [pairs], out, cache=cache)
    assert out.read_text() == "older"
    with pytest.raises(InputError, match="unknown extension"):
        judge_pairs(judge_of(server), [pairs], tmp_path / "out.txt", cache=cache)


def command(server: ChatServer, tmp_path: Path, *options: object) -> list[str]:
    return [
        *(
            sys.executable,
            "-m",
            "keydistill.cli.main",
            "--home",
            str(tmp_path / "home"),
            "judge",
            str(tmp_path / "pairs.csv"),
        ),
        *("--out", str(tmp_path / "out.parquet"), "--endpoint", server.url, "--model", "m", *map(str, options)),
    ]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_process_loses_what_was_in_flight_and_no_more(
    server: ChatServer, tmp_path: Path, sign: signal.Signals
) -> None:
    write_pairs(tmp_path / "pairs.csv", 60)
    # 20 answers, then silence: what is asked from then on is in flight when the process dies.
    server.order(*[None] * 20)
    server.always = "hang"
    process = subprocess.Popen(command(server, tmp_path, "--concurrency", 4), cwd=ROOT, stderr=subprocess.PIPE)
    try:
        with JudgmentCache(tmp_path / "home" / "judgments.sqlite") as cache:
            # Until all 20 are kept and 4 more hang.
            while process.poll() is None and (sum(cache.counts().values()) < 20 or server.in_flight < 4):
                time.sleep(0.02)
        assert process.poll() is None, present(process.stderr).read()
        process.send_signal(sign)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
        process.wait()
        present(process.stderr).close()
    in_flight = set(server.asked[20:])
    assert len(in_flight) == 4
    assert not (tmp_path / "out.parquet").exists()
    server.released.set()
    server.always = None
    finished = subprocess.run(command(server, tmp_path, "--json"), cwd=ROOT, capture_output=True, check=True)
    summary = json.loads(finished.stdout)
    assert (summary["labelled"], summary["asked"]) == (60, 40)
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 60
    assert {pair for pair, times in server.times.items() if times > 1} == in_flight
    assert max(server.times.values()) == 2


def put_many(path: Path, start: int) -> None:
    with JudgmentCache(path) as cache:
        for number in range(start, start + 500):
            cache.put(str(number).encode(), Judgment(True, 0.5), "m", "p")


def test_two_processes_share_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=put_many, args=(path, start)) for start in (0, 250)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with JudgmentCache(path) as cache:
        assert cache.counts() == {("m", "p"): 750}


def test_what_another_process_judged_meanwhile_is_not_asked_again(
    server: ChatServer, tmp_path: Path, cache: JudgmentCache
) -> None:
    pairs = write_pairs(tmp_path / "pairs.csv", 20)
    judge = judge_of(server, concurrency=1)
    plain = server.answer

    def the_other_process() -> None:
        with JudgmentCache(tmp_path / "cache.sqlite") as other, ChatServer() as elsewhere:
            assert judge_pairs(judge_of(elsewhere), [pairs], tmp_path / "other.csv", cache=other).labelled == 20

    def answer(title: str, keyphrase: str) -> object:
        # It does all the work while the first answer is on its way; in a thread, for the server's has a loop running.
        if len(server.asked) == 1:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(the_other_process).result()
        return plain(title, keyphrase)

    server.answer = answer
    summary = judge_pairs(judge, [pairs], tmp_path / "out.csv", cache=cache)
    assert summary.labelled == 20
    assert len(server.asked) == 1


def test_a_file_that_is_no_cache_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("this is no database, " * 100)
    with pytest.raises(StorageError, match="--cache") as caught:
        JudgmentCache(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_of_labels_is_a_judge_by_item_and_keyphrase(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("item_id,keyphrase,title\n1,red,Same\n2,red,Same\n3,red,Same\n")
    table = LabelTable("human", "1", {("1", "red"): (True, 0.8), ("2", "red"): (False, None)})
    with JudgmentCache(None) as cache:
        summary = judge_pairs(table, [pairs], tmp_path / "out.parquet", cache=cache)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["item_id"], row["label"], row["probability"]) for row in rows] == [
        ("1", True, pytest.approx(0.8)),
        ("2", False, None),
    ]
    assert summary.unlabelled == 1
    (row,) = pq.read_table(summary.unlabelled_file).to_pylist()
    assert (row["item_id"], row["reason"]) == ("3", "not_in_table")
