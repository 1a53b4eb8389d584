"""The examples of docs/serving.md that speak HTTP, against a service and a REST front of Qdrant."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keydistill.vectorstore.server.engine import ServerEngine
from tests.serve.conftest import KEYPHRASES, Home, build, swap
from tests.support.front_process import FrontProcess
from tests.support.places import ROOT
from tests.support.service_process import ServiceProcess

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: ([\w ]+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def addresses(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Qdrant server with a live collection and a service on it, as the page calls them."""
    folder: Path = tmp_path_factory.mktemp("page")
    with FrontProcess(folder / "front") as front:
        with ServerEngine(front.url, retries=1) as engine:
            student = home.students["a"]
            swap(engine, build(engine, student, student.source))
        with ServiceProcess(folder / "home", engine="server", qdrant_url=front.url) as service:
            yield {"http://127.0.0.1:8077": service.url, "http://127.0.0.1:6333": front.url}


def example(name: str, addresses: dict[str, str]) -> str:
    text = EXAMPLES[name]
    for shown, real in addresses.items():
        text = text.replace(shown, real)
    return text


def test_all_of_them_are_run() -> None:
    assert set(EXAMPLES) == {"curl", "client", "qdrant rest", "qdrant client"}


def test_curl(addresses: dict[str, str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    done = subprocess.run(
        ["bash", "-c", example("curl", addresses)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"results":[{"id":"a1","keyphrases":[{"keyphrase":' in done.stdout


@pytest.mark.parametrize("name", ["client", "qdrant rest", "qdrant client"])
def test_python(addresses: dict[str, str], capsys: pytest.CaptureFixture[str], name: str) -> None:
    exec(example(name, addresses), {})
    shown = capsys.readouterr().out
    # Keyphrases of the site `us`, which are those at odd places.
    assert sum(repr(keyphrase) in shown for keyphrase in KEYPHRASES[1::2]) == 5
    assert not any(repr(keyphrase) in shown for keyphrase in KEYPHRASES[::2])
