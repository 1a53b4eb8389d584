import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest

from keydistill.cli.main import COMMANDS, cli
from tests.cli.conftest import Command
from tests.support.places import ROOT

DOCS = ROOT / "docs"


def every_command(
    command: click.Command = cli, path: tuple[str, ...] = ("keydistill",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from every_command(subcommand, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(every_command()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_has_help(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    context = click.Context(command)
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts}"


def test_the_reference_is_what_the_commands_say() -> None:
    # In a process of its own: click keeps the help option of a command as its first caller asked for it.
    page = subprocess.run(
        [sys.executable, "-m", "keydistill.cli.reference"], check=True, capture_output=True, text=True
    ).stdout
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page, "run `make docs`"


def test_summaries_begin_as_the_commands_own_help() -> None:
    context = click.Context(cli)
    for name, (_, summary) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert (command.help or "").strip(), name
        assert summary.endswith("."), name


def test_importing_the_command_line_is_cheap() -> None:
    code = (
        "import sys; import keydistill.cli.main\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'duckdb', 'pyarrow', 'qdrant_client'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reindex_says_what_it_did(keydistill: Command, inventory: Path) -> None:
    result = keydistill("reindex", inventory)
    assert result.status == 0
    assert "5 in 1 parts" in result.out
    assert "keyphrases: nothing -> keyphrases-" in result.out
    assert result.err == ""


def test_reindex_says_what_it_computed_with_and_why(
    keydistill: Command, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYDISTILL_RUNTIME", "torch")
    assert "runtime        torch: as the settings say\n" in keydistill("reindex", inventory).out
    monkeypatch.delenv("KEYDISTILL_RUNTIME")
    lines = keydistill("reindex", inventory).out.splitlines()
    (line,) = (line for line in lines if line.startswith("runtime "))
    assert "starts at once, which counts with so few texts" in line
    # Six keyphrases do not wait for an export.
    assert not (tmp_path / "home" / "cache" / "runtimes").exists()


@pytest.mark.parametrize(
    "command", [["search", "red shoes"], ["status"], ["collections", "list"], ["runs", "list"], ["settings"]]
)
def test_what_only_looks_starts_without_torch(
    live: Command, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.delenv("KEYDISTILL_RUNTIME")
    code = (
        "import sys; from keydistill.cli.main import cli; cli.main(sys.argv[1:], standalone_mode=False);"
        "sys.exit(bool({'torch', 'transformers', 'sentence_transformers', 'openvino'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_reindex_as_json_is_the_run_record(keydistill: Command, inventory: Path) -> None:
    run = json.loads(keydistill("reindex", inventory, "--json").out)
    assert run["state"] == "live"
    assert run["rows"] == 5
    assert json.loads(keydistill("runs", "show", run["id"], "--json").out) == run
    assert json.loads(keydistill("runs", "list", "--json").out) == [run]


def test_a_dry_run_changes_nothing(keydistill: Command, inventory: Path, tmp_path: Path) -> None:
    result = keydistill("reindex", inventory, "--dry-run")
    assert result.status == 0
    assert "5 in 1 parts, 1 equal ones merged" in result.out
    assert "dimension 32" in result.out
    assert "dry run: nothing was changed" in result.out
    assert not (tmp_path / "home").exists()
    plan = json.loads(keydistill("reindex", inventory, "--dry-run", "--json").out)
    assert (plan["keyphrases"], plan["dimension"], plan["previous_target"]) == (5, 32, None)
    assert not (tmp_path / "home").exists()


def test_search_finds_and_filters(live: Command) -> None:
    hits = json.loads(live("search", "iphone 13", "--json", "--limit", 1).out)
    assert hits[0]["keyphrase"] == "iphone 13"
    assert hits[0]["score"] == pytest.approx(1, abs=1e-4)

    def found(*options: object) -> set[str]:
        return {hit["keyphrase"] for hit in json.loads(live("search", "anything", "--json", *options).out)}

    assert found("--category", " Electronics>  Phones") == found("--category", "Electronics > Phones")
    assert found("--category", "Electronics") == {"iphone 13 case", "iphone 13"}
    assert found("--category", "Electronics > Phones > Cases") == {"iphone 13 case"}
    assert found("--category", "Clothing > Sale") == {"red running shoes"}
    assert found("--site", "DE") == {"usb c cable"}
    assert found("--min-volume", 900) == {"red running shoes", "iphone 13 case", "iphone 13"}
    assert found("--min-volume", 900, "--category", "Clothing") == {"red running shoes"}
    assert len(found()) == 5


def test_search_prints_a_table(live: Command) -> None:
    result = live("search", "iphone 13", "--limit", 2)
    header, first, _ = result.out.splitlines()
    assert header.split() == ["score", "keyphrase", "search", "volume", "category"]
    assert first.split()[:3] == ["1.000", "iphone", "13"]


def test_search_that_finds_nothing_says_so(live: Command) -> None:
    result = live("search", "x", "--category", "Nowhere")
    assert (result.status, result.out) == (0, "")
    assert "no keyphrase passes the filter" in result.err


ITEMS = [
    {"item_id": "1", "title": "Red running shoes", "category_path": "Clothing > Shoes", "site": "US"},
    {"item_id": "2", "title": "iPhone 13", "category_path": "Electronics > Phones > Cases", "site": ""},
    {"item_id": "3", "title": "", "category_path": "", "site": ""},
    {"item_id": "4", "title": "cable", "category_path": "", "site": "DE"},
]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ITEMS[0])
        writer.writeheader()
        writer.writerows(ITEMS)
    return path


def keyphrases(path: Path) -> dict[str, list[str]]:
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lists: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: int(row["rank"])):
        lists.setdefault(row["item_id"], []).append(row["keyphrase"])
    return lists


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_recommend_writes_every_format(live: Command, items: Path, tmp_path: Path, extension: str) -> None:
    out = tmp_path / f"found.{extension}"
    result = live("recommend", items, "--out", out, "--limit", 3)
    assert result.status == 0
    lists = keyphrases(out)
    assert set(lists) == {"1", "2", "4"}
    assert lists["1"][0] == "red running shoes"
    assert lists["2"][0] == "iphone 13"
    assert lists["4"] == ["usb c cable"]
    assert "1 items got fewer than 3" in result.err
    assert "1 rows were no items" in result.err
    (reject,) = pq.read_table(tmp_path / f"found.{extension}.rejects.parquet").to_pylist()
    assert (reject["row"], reject["column"], reject["reason"]) == (3, "title", "empty")


@pytest.mark.parametrize(
    ("match", "expected"), [("leaf", {"iphone 13 case"}), ("parent", {"iphone 13 case", "iphone 13"})]
)
def test_recommend_within_the_items_category(
    live: Command, items: Path, tmp_path: Path, match: str, expected: set[str]
) -> None:
    out = tmp_path / "found.jsonl"
    assert live("recommend", items, "--out", out, "--match-category", match).status == 0
    assert set(keyphrases(out)["2"]) == expected


def test_recommend_agrees_with_search(live: Command, items: Path, tmp_path: Path) -> None:
    live("recommend", items, "--out", tmp_path / "found.csv", "--limit", 4)
    searched = json.loads(live("search", "Red running shoes", "--site", "US", "--limit", 4, "--json").out)
    assert keyphrases(tmp_path / "found.csv")["1"] == [hit["keyphrase"] for hit in searched]


def test_a_failed_recommend_leaves_the_older_file(live: Command, items: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.csv"
    live("recommend", items, "--out", out)
    before = out.read_bytes()
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    result = live("recommend", broken, "--out", out)
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert out.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(".")) == []


def test_collections_and_status_say_what_is_live(live: Command) -> None:
    (collection,) = json.loads(live("collections", "list", "--json").out)
    status = json.loads(live("status", "--json").out)
    assert collection["alias"] == "keyphrases"
    assert status["collection"] == collection["name"]
    assert status["points"] == collection["points"] == 5
    assert status["unfinished_runs"] == []
    assert collection["name"] in live("collections", "list").out
    assert collection["name"] in live("status").out


def test_before_the_first_reindex_everything_says_what_to_do(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    for command in ("runs list", "collections list", "status"):
        result = keydistill(*command.split())
        assert result.status == 0
        assert "keydistill reindex INVENTORY" in result.out
    result = keydistill("search", "x")
    assert result.status == 1
    assert result.err == (
        "error: alias 'keyphrases' names no collection yet; build one with `keydistill reindex INVENTORY`\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("reindex", 2, "give inventory files to start a run, or --resume RUN"),
        ("reindex nowhere.csv", 1, "nowhere.csv does not exist"),
        ("reindex --resume 2020", 1, "run '2020': there is none"),
        ("runs show zzz", 1, "run 'zzz': there is none"),
        ("reindex x.csv --student nobody/nothing", 1, "model 'nobody/nothing' was not found"),
        (
            "reindex x.csv --max-reject-share 7",
            2,
            "setting 'max_reject_share': Input should be less than or equal to 1",
        ),
        ("inventory check nowhere.csv", 1, "nowhere.csv does not exist"),
    ],
)
def test_mistakes_are_one_line(keydistill: Command, tmp_path: Path, arguments: str, status: int, message: str) -> None:
    (tmp_path / "home").mkdir()
    result = keydistill(*arguments.split())
    assert result.status == status
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert "Traceback" not in result.err


def test_a_usage_error_points_to_help(keydistill: Command) -> None:
    result = keydistill("search")
    assert result.status == 2
    assert "Missing argument 'TITLE'" in result.err


def test_settings_mask_secrets(keydistill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYDISTILL_QDRANT_API_KEY", "very-secret")
    for result in (keydistill("settings"), keydistill("settings", "--json")):
        assert result.status == 0
        assert "very-secret" not in result.out + result.err
        assert "**********" in result.out


def test_settings_come_from_file_environment_and_options_in_that_order(
    keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keydistill.toml").write_text('alias = "file"\nsearch_ef = 33\npart_rows = 44\n')
    monkeypatch.setenv("KEYDISTILL_PART_ROWS", "55")
    values = json.loads(keydistill("--alias", "option", "settings", "--json").out)
    assert (values["alias"], values["search_ef"], values["part_rows"]) == ("option", 33, 55)


def test_a_malformed_settings_file_is_one_line(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "keydistill.toml").write_text("alias = \n")
    result = keydistill("settings")
    assert result.status == 2
    assert len(result.err.splitlines()) == 1
    (tmp_path / "keydistill.toml").write_text("alais = 'x'\n")
    result = keydistill("settings")
    assert result.status == 2
    assert "alais" in result.err


def test_a_secret_in_a_malformed_setting_is_not_shown(keydistill: Command, tmp_path: Path) -> None:
    (tmp_path / "keydistill.toml").write_text('qdrant_api_key = ["very-secret"]\n')
    result = keydistill("settings")
    assert result.status == 2
    assert "very-secret" not in result.err


def test_debug_shows_the_traceback(keydistill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from keydistill.errors import KeydistillError

    monkeypatch.setattr(sys, "argv", ["keydistill", "--debug", "search", "x"])
    from keydistill.cli.main import main

    with pytest.raises(KeydistillError):
        main()


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m keydistill.cli.main settings | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("home")
    assert done.stderr == ""


def test_recommend_counts_ids_that_came_twice_and_notes_flat_paths(live: Command, tmp_path: Path) -> None:
    path = tmp_path / "items.txt"
    rows = ["Product ID,Name,Site,category_path", "7,red shoes,US,A/B/C", "7,lamp,,", "007,lamp,US,", "7,x,US,"]
    path.write_text("".join(row.replace(",", "\t") + "\n" for row in rows))
    out = tmp_path / "found.csv"
    result = live("recommend", path, "--out", out, "--json")
    found = json.loads(result.out)
    assert (found["items"], found["repeated"]) == (4, 1)
    assert "'A/B/C'" in found["hints"][0]
    result = live("recommend", path, "--out", out)
    assert "1 items have an id that another one before them has" in result.err
    assert "note: 1 rows have a single category that looks like a path" in result.err


def test_recommend_makes_formulas_harmless_when_told(live: Command, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n=1+1,red shoes\n")
    for options, shown in (((), "=1+1"), (("--escape-formulas",), "'=1+1")):
        out = tmp_path / "found.csv"
        assert live("recommend", path, "--out", out, *options).status == 0
        assert set(keyphrases(out)) == {shown}


@pytest.mark.parametrize(
    ("category", "hits"), [("Electronics &gt; Phones", True), ("Electronics>Phones", True), ("Phones", False)]
)
def test_search_reads_a_category_as_tables_do(live: Command, category: str, hits: bool) -> None:
    result = live("search", "iphone", "--category", category, "--json")
    assert bool(json.loads(result.out)) == hits


def test_a_malformed_category_is_one_line(live: Command) -> None:
    result = live("search", "iphone", "--category", ">")
    assert (result.status, len(result.err.splitlines())) == (1, 1)
    assert "'>' has an empty category" in result.err
