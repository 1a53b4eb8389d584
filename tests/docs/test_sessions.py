"""Terminal sessions of the pages, done again: what a page shows is what comes."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.older_home import STUDENT, unpack
from tests.support.places import ROOT
from tests.support.ports import free_port
from tests.support.sessions import SHOWN_REDIS, SHOWN_SERVER, Shell, difference, played

# Page, session, and whether it takes minutes.
SESSIONS = {
    ("getting-started.md", "start"): False,
    ("training.md", "train"): True,
    ("walkthrough.md", "walk"): True,
}
# With a REST front and Celery workers.
SERVER = ("walkthrough.md", "server")
# In the home of an earlier version.
OLDER = ("walkthrough.md", "older")
# What Qdrant answers: https://github.com/qdrant/qdrant/pull/9646
_NO_ROOM = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"


needs_bash = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "openssl"))), reason="bash, curl and openssl are needed"
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
def test_a_home_of_an_earlier_version_is_what_the_page_shows(tmp_path: Path) -> None:
    with Shell(unpack(tmp_path / "shop").parent, {"KEYDISTILL_STUDENT": STUDENT}) as shell:
        assert differences(*OLDER, shell, {}) == []


@contextmanager
def served(folder: Path, student: Path) -> Iterator[tuple[Shell, dict[str, Callable[[], None]]]]:
    """A shell beside a server, workers and the files of their keys; and what the comments of the page do to these."""
    keys = folder / "shop" / "keys"
    keys.mkdir(parents=True)
    for name in ("qdrant", "qdrant-read", "redis"):
        (keys / name).write_text(secrets.token_hex(32))

    def key(name: str) -> str:
        return (keys / name).read_text().strip()

    def front(version: str, suffix: str = "") -> list[str]:
        pair = ("--api-key", key(f"qdrant{suffix}"), "--read-only-key", key(f"qdrant-read{suffix}"))
        return [*pair, "--version", version]

    with Cluster(
        folder / "cluster",
        student,
        password=key("redis"),
        front=front("1.18.3"),
        runtime="torch",
        qdrant_api_key=key("qdrant"),
    ) as cluster:
        for queue in ("control", "embed"):
            cluster.worker(queue)
        happens: dict[str, Callable[[], None]] = {
            "# Qdrant's disk is full": partial(
                cluster.front.fault, status=500, match=r"PUT /collections/[^/]+/points", message=_NO_ROOM
            ),
            "# There is room again": cluster.front.no_faults,
            "# Qdrant starts again with the new keys": lambda: cluster.front.restart(*front("1.18.3", ".next")),
            "# The workers start again with the new key": lambda: cluster.restart_members(
                KEYDISTILL_QDRANT_API_KEY=key("qdrant.next")
            ),
            "# The workers start again with the new password": lambda: cluster.restart_members(
                KEYDISTILL_REDIS_URL=cluster.redis.url.replace(key("redis"), key("redis.next"))
            ),
            "# Redis starts again with the new password alone": lambda: cluster.redis.restart(key("redis.next")),
            "# Qdrant 1.19.2 takes the place of 1.18.3": lambda: cluster.front.restart(*front("1.19.2", ".next")),
            "# Qdrant 1.20.0 takes the place of 1.19.2": lambda: cluster.front.restart(*front("1.20.0", ".next")),
        }
        variables = {name: value for name, value in cluster.environment.items() if name.startswith("KEYDISTILL_")}
        variables["REDISCLI_AUTH"] = key("redis")
        stand_ins = {SHOWN_SERVER: cluster.front.url, SHOWN_REDIS: f"127.0.0.1:{cluster.redis.port}"}
        with Shell(folder / "shop", variables, stand_ins) as shell:
            yield shell, happens
        logs = "".join(file.read_text() for file in cluster.folder.glob("*.log"))
        assert not any(key(file.name) in logs for file in keys.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@needs_bash
def test_what_happens_to_servers_is_what_the_page_shows(tmp_path: Path, tiny_folder: Path) -> None:
    with served(tmp_path, tiny_folder) as (shell, happens):
        assert differences(*SERVER, shell, happens) == []
    assert happens == {}
    page = (ROOT / "docs" / SERVER[0]).read_text()
    assert not any(file.read_text().strip() in page for file in (tmp_path / "shop" / "keys").iterdir())
