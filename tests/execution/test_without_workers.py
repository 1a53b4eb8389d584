"""What works where neither Celery nor the client of Redis is installed."""

import subprocess
import sys

import pytest

from tests.support.places import ROOT

CODE = """
import sys

for name in ("celery", "redis", "redbeat", "kombu"):
    sys.modules[name] = None  # as if it were not installed

import keydistill.execution
import keydistill.workers
from keydistill.errors import SettingsError
from keydistill.runs import open_store
from keydistill.settings import load_settings

nightly = {"cron": "0 3 * * *", "task": "prune", "kwargs": {"keep": 1}}
settings = load_settings(schedules={"nightly": nightly})
assert settings.schedules["nightly"].cron == "0 3 * * *"
assert open_store(settings).all() == []
try:
    open_store(load_settings(redis_url="redis://127.0.0.1:1/0"))
except SettingsError as error:
    print(error)
try:
    keydistill.workers.sender
except ModuleNotFoundError as error:
    print(error.name)
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    home = tmp_path_factory.mktemp("home")
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": str(ROOT), "KEYDISTILL_HOME": str(home), "PATH": ""},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_store_in_redis_says_what_to_install(lines: list[str]) -> None:
    assert lines[0] == ("redis_url is set, but the client of Redis is not installed: pip install 'keydistill[workers]'")


def test_only_what_needs_celery_asks_for_it(lines: list[str]) -> None:
    assert lines[1:] == ["celery"]
