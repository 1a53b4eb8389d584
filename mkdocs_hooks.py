"""What the site needs beyond `docs/`, and where the two readers of Markdown differ: GitHub and Python-Markdown."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
# Pages of the repository's top, and their places in the site.
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the top, and what pages link to outside `docs/`."""
    linked = {
        link for page in (ROOT / "docs").glob("*.md") for link in _OUTSIDE.findall(page.read_text(encoding="utf-8"))
    }
    for name in sorted(linked - TOP.keys()):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, place in TOP.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page as the site reads it: links lead to its own places, and a pipe in code is written without a backslash."""
    markdown = markdown.replace("](../README.md", "](index.md").replace("](../", "](")
    if page.file.src_uri in TOP.values():
        markdown = markdown.replace("](docs/", "](").replace("](README.md", "](index.md")
    return "\n".join(_table_row(line) if line.startswith("|") else line for line in markdown.split("\n"))


def _table_row(line: str) -> str:
    # GitHub takes the backslash away before it reads the code; Python-Markdown reads no pipe in code as a border.
    return re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), line)
