"""One reading of categories: inventories, items, signals and the command line mean the same by the same text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydistill.distillation.signals.validation import category_cell
from keydistill.retrieval import read_items
from keydistill.tables import (
    Categories,
    CategoryHints,
    RejectedValueError,
    RejectLog,
    leaf_category,
    leaf_name,
    path_of,
)
from keydistill.tables.categories import list_text

BOTH = [
    ("Home > Bath > Towels", "Home > Bath > Towels"),
    ("Home>Bath  >Towels", "Home > Bath > Towels"),
    (r"Electronics > TV \| Video", r"Electronics > TV \| Video"),
    ("Electronics > TV | Video", "Electronics > TV"),
    (["Electronics > TV | Video"], r"Electronics > TV \| Video"),
    (r"Furniture > Kids \> Teens > Beds", r"Furniture > Kids \> Teens > Beds"),
    ("Apparel &gt; Shoes", "Apparel > Shoes"),
    ("Apparel &amp; Accessories &gt; Shoes", "Apparel & Accessories > Shoes"),
    ("Books &amp;amp; Films", "Books &amp;amp; Films"),
    ("R&D > AT&T; > Caf&eacute;", "R&D > AT&T; > Café"),
    ("TV &#62; Audio &#x3E; Hi-Fi", "TV > Audio > Hi-Fi"),
    ("Audio ＞ Hi-Fi", "Audio > Hi-Fi"),  # noqa: RUF001
    (r"AC\DC > Shirts", r"AC\DC > Shirts"),
]


@pytest.mark.parametrize(("cell", "leaf"), BOTH)
def test_an_item_is_in_a_category_of_the_keyphrase_with_the_same_text(
    tmp_path: Path, cell: str | list[str], leaf: str
) -> None:
    of_keyphrase = Categories().of(None, cell)
    assert leaf in of_keyphrase
    assert category_cell(cell) == leaf == leaf_category(None, cell)
    file = tmp_path / "items.jsonl"
    file.write_text(json.dumps({"item_id": "1", "title": "a", "category_path": cell}))
    with RejectLog() as rejects:
        assert [item.category for batch in read_items([file], rejects) for item in batch] == [leaf]
    # What was read is read again as itself, as text and in a list.
    for again in (leaf, [leaf]):
        assert leaf_category(None, again) == leaf
    assert Categories().of(None, list_text(of_keyphrase)) == of_keyphrase == Categories().of(of_keyphrase, None)


@given(st.lists(st.text("ab \\>|&;gtam", min_size=1, max_size=12), min_size=1, max_size=3))
def test_names_with_separators_survive(names: list[str]) -> None:
    names = [name for name in (" ".join(name.split()) for name in names) if name]
    try:
        path = leaf_category(None, path_of(names))
    except RejectedValueError:
        return  # a name of nothing but an escape
    if path is not None and not any("&" in name or "\\" in name for name in names):
        assert path.count(" > ") == len(names) - 1
        assert leaf_name(path) == names[-1]
    if path is not None:
        assert leaf_category(None, path) == leaf_category(None, [path]) == path


def test_ids_are_read_alike() -> None:
    assert Categories().of(r"12|1\|3", None) == ["12", r"1\|3"]
    assert Categories().of("12 | 013", None) == ["013", "12"]
    assert leaf_category("12 | 013", None) == "013"
    assert leaf_category(["1|3"], None) == r"1\|3"
    assert leaf_category("", "A > B") == "A > B"
    assert leaf_category(12.0, None) == "12"


def test_a_tree_and_an_inventory_mean_the_same_id(tmp_path: Path) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("category_id,parent_id\nTV &amp; Radio|Video,Media\nMedia,\n")
    assert Categories.read(tree).of(["TV & Radio|Video"], None) == ["Media", r"TV & Radio\|Video"]


@pytest.mark.parametrize("cell", ["#NAME?", "A > > B", ">", "A > &nbsp;"])
def test_what_is_no_category(cell: str) -> None:
    with pytest.raises(RejectedValueError):
        leaf_category(None, cell)


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        (["Home/Bath/Towels"], "1 rows have a single category that looks like a path, such as 'Home/Bath/Towels'"),
        (["Home » Bath", "Home » Bed"], "2 rows have a single category that looks like a path"),
        (["Home / Bath"], "looks like a path"),
        (["Home::Bath"], "looks like a path"),
        (["Electronics > TV | Video"], "1 rows have a category of one level beside a longer path, such as 'Video'"),
    ],
)
def test_what_looks_misread_is_said(cells: list[str], hint: str) -> None:
    hints = CategoryHints()
    for cell in cells:
        hints.see(Categories().of(None, cell))
    assert hint in hints.lines()[0]


@pytest.mark.parametrize(
    "cell", ["TV/Video", "Home", "Home > Bath", "A > B | A > C", "12", r"TV \| Video > Sets", "Hi-Fi"]
)
def test_what_is_fine_has_no_hint(cell: str) -> None:
    hints = CategoryHints()
    hints.see(Categories().of(None, cell))
    assert hints.lines() == ()
