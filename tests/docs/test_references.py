"""Pages that are made from the code say what the code says: run `make docs` where one of these fails."""

import os
import subprocess
import sys

import pytest

from keydistill.settings import Settings
from tests.support.places import ROOT

PAGES = {
    "configuration.md": "keydistill.cli.configuration",
    "http-api.md": "keydistill.serve.reference",
}


@pytest.mark.parametrize(("page", "module"), PAGES.items(), ids=PAGES)
def test_a_page_is_what_its_module_makes(page: str, module: str) -> None:
    # What a person has set must not reach the page.
    environment = {**os.environ, "KEYDISTILL_PART_ROWS": "7", "KEYDISTILL_QDRANT_API_KEY": "very-secret"}
    made = subprocess.run(
        [sys.executable, "-m", module], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == made, "run `make docs`"


def test_every_setting_has_a_meaning() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
