import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from keydistill.cli.main import main


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def keydistill(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command as a shell would call it, in a home of its own and with the tiny student."""
    monkeypatch.setenv("KEYDISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEYDISTILL_STUDENT", str(tiny_folder))
    monkeypatch.chdir(tmp_path)
    # It would change the umask of all tests in this process; tests/files/test_modes.py has it.
    monkeypatch.setattr("keydistill.files.protect_home", lambda *_: None)

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["keydistill", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.csv"
    path.write_text(
        "keyphrase,category_path,search_volume,site\n"
        "Red Running Shoes,Clothing > Shoes,900,US\n"
        "blue running shoes,Clothing > Shoes,50,US\n"
        "iphone 13 case,Electronics > Phones > Cases,5000,US\n"
        "iphone 13,Electronics > Phones,9000,US\n"
        "usb c cable,,100,DE\n"
        "red  running shoes,Clothing > Sale,10,US\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def live(keydistill: Command, inventory: Path) -> Command:
    """The command, with the inventory live."""
    assert keydistill("reindex", inventory).status == 0
    return keydistill
