"""The pages hang together: every page is linked, and links, anchors and names of tests lead somewhere."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]


@cache
def without_code(page: Path) -> str:
    """A page less its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets of the page's links and pictures that stay in the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def target_of(page: Path, link: str) -> tuple[Path, str]:
    """The file that a link leads to, and the anchor in it."""
    file, _, anchor = link.partition("#")
    return ((page.parent / file).resolve() if file else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for link in links(page):
        file, anchor = target_of(page, link)
        assert file.exists(), f"{link} leads to no file"
        assert not anchor or anchor in anchors(file), f"{link}: {file.name} has no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {ROOT / "README.md"}
    unread = list(reached)
    while unread:
        page = unread.pop()
        linked = {target_of(page, link)[0] for link in links(page)}
        new_pages = {file for file in linked if file.suffix == ".md" and file.exists()} - reached
        reached |= new_pages
        unread.extend(new_pages)
    assert set(PAGES) - reached == set()


def test_every_invariant_names_its_tests() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(NAMED_TEST.findall(text)) >= 24


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    for file, test in NAMED_TEST.findall(page.read_text(encoding="utf-8")):
        assert re.search(rf"^ *def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (file, test)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    rooms = "benchmarks|cli|distillation|docs|encoders|ingest|keydistill|tests|workers"
    for named in re.findall(rf"`((?:{rooms})/[\w./-]+)`", without_code(page)):
        assert (ROOT / named).exists(), f"there is no {named}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_of_the_pages_imports_what_there_is(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for statement in ast.walk(ast.parse(block)):
            if not isinstance(statement, ast.ImportFrom) or not (statement.module or "").startswith("keydistill."):
                continue
            module = import_module(statement.module or "")
            for name in statement.names:
                assert hasattr(module, name.name), f"{statement.module} has no {name.name}"
