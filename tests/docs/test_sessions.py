"""Terminal sessions of the pages, done again: what a page shows is what comes."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.places import ROOT
from tests.support.ports import free_port
from tests.support.sessions import SHOWN_SERVER, Shell, difference, played

# Page, session, and whether it takes minutes.
SESSIONS = {
    ("getting-started.md", "start"): False,
    ("training.md", "train"): True,
    ("walkthrough.md", "walk"): True,
}
# With a REST front and Celery workers.
SERVER = ("walkthrough.md", "server")
# What Qdrant answers: https://github.com/qdrant/qdrant/pull/9646
_NO_ROOM = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"


needs_bash = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("curl") is None, reason="bash and curl are needed"
)


def differences(page: str, session: str, shell: Shell, happens: dict[str, Callable[[], None]]) -> list[str]:
    """What comes in place of what a page shows; what `happens` at a step is done and taken out."""
    found = []
    for step, printed in played(ROOT / "docs" / page, session, shell):
        happens.pop(step.text, lambda: None)()
        other = difference(step.shown, printed)
        if other is not None:
            found.append(f"$ {step.text}\n{other}")
    return found


@pytest.mark.timeout(900)
@needs_bash
@pytest.mark.parametrize(
    ("page", "session"),
    [pytest.param(*names, marks=[pytest.mark.slow] if slow else []) for names, slow in SESSIONS.items()],
)
def test_what_a_page_shows_is_what_comes(page: str, session: str, tmp_path: Path) -> None:
    with Shell(tmp_path / "shop", stand_ins={"8977": str(free_port())}) as shell:
        assert differences(page, session, shell, {}) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_bash
def test_a_server_without_room_is_what_the_page_shows(tmp_path: Path, tiny_folder: Path) -> None:
    with Cluster(tmp_path / "cluster", tiny_folder, runtime="torch") as cluster:
        for queue in ("control", "embed"):
            cluster.worker(queue)
        # Comments of the page are what happens to the server.
        happens: dict[str, Callable[[], None]] = {
            "# Qdrant's disk is full": partial(
                cluster.front.fault, status=500, match=r"PUT /collections/[^/]+/points", message=_NO_ROOM
            ),
            "# There is room again": cluster.front.no_faults,
        }
        variables = {name: value for name, value in cluster.environment.items() if name.startswith("KEYDISTILL_")}
        stand_ins = {SHOWN_SERVER: cluster.front.url}
        with Shell(tmp_path / "shop", variables, stand_ins) as shell:
            assert differences(*SERVER, shell, happens) == []
    assert happens == {}
