"""`keydistill simulate`."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from keydistill.cli.simulate import simulate
from keydistill.errors import InputError
from keydistill.simulation import MarketplaceSettings
from tests.support.places import ROOT

SMALL = ["--items", "40", "--keyphrases", "120", "--leaf-categories", "5"]


def test_every_knob_is_an_option_with_help_and_the_same_default() -> None:
    options = {option.name: option for option in simulate.get_params(click.Context(simulate))}
    for knob in fields(MarketplaceSettings):
        option = options[knob.name]
        assert isinstance(option, click.Option)
        assert option.help
        assert option.default == knob.default
    assert len(simulate.get_params(click.Context(simulate))) == len(options)


def test_every_knob_is_documented_with_its_default() -> None:
    text = ROOT.joinpath("docs", "simulation.md").read_text(encoding="utf-8")
    for knob in fields(MarketplaceSettings):
        option = "--site" if knob.name == "sites" else "--" + knob.name.replace("_", "-")
        default = {"sites": "US", "leaf_categories": "all"}.get(knob.name, f"{knob.default}")
        assert f"| `{option}` | {default} |" in text, knob.name


def test_says_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "market"
    result = CliRunner().invoke(simulate, [str(out), *SMALL, "--site", "US", "--site", "UK"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert ["items", "40"] in [line.split() for line in lines]
    assert lines[-1] == f"Wrote {out}"
    manifest = json.loads((out / "simulation.json").read_text(encoding="utf-8"))
    assert manifest["settings"]["sites"] == ["US", "UK"]


def test_json_is_one_document_and_the_manifest(tmp_path: Path) -> None:
    out = tmp_path / "market"
    result = CliRunner().invoke(simulate, [str(out), *SMALL, "--position-bias", "0", "--json"], catch_exceptions=False)
    printed = json.loads(result.output)
    assert printed.pop("out") == str(out)
    assert printed == json.loads((out / "simulation.json").read_text(encoding="utf-8"))
    assert printed["settings"]["position_bias"] == 0
    assert printed["settings"]["items"] == 40


def test_errors_reach_main_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        CliRunner().invoke(simulate, [str(tmp_path), *SMALL], catch_exceptions=False)


def test_value_outside_its_limits_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(simulate, [str(tmp_path / "out"), "--middleman-bias", "2"])
    assert result.exit_code == 2
    assert "--middleman-bias" in result.output
    assert not (tmp_path / "out").exists()


def test_importing_the_command_imports_no_simulation() -> None:
    code = (
        "import sys, keydistill.cli.simulate\n"
        "sys.exit(any(name.startswith(('keydistill.simulation', 'numpy')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
