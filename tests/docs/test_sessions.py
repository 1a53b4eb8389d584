"""Terminal sessions of the pages, done again: what a page shows is what comes."""

import shutil
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.ports import free_port
from tests.support.sessions import Shell, difference, played

# Page, session, and whether it takes minutes.
SESSIONS = {
    ("getting-started.md", "start"): False,
    ("training.md", "train"): True,
    ("walkthrough.md", "walk"): True,
}


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="bash and curl are needed")
@pytest.mark.parametrize(
    ("page", "session"),
    [pytest.param(*names, marks=[pytest.mark.slow] if slow else []) for names, slow in SESSIONS.items()],
)
def test_what_a_page_shows_is_what_comes(page: str, session: str, tmp_path: Path) -> None:
    differences = []
    with Shell(tmp_path / "shop", stand_ins={"8977": str(free_port())}) as shell:
        for step, printed in played(ROOT / "docs" / page, session, shell):
            found = difference(step.shown, printed)
            if found is not None:
                differences.append(f"$ {step.text}\n{found}")
    assert differences == []
