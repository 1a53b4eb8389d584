"""The text of an item: what an item lacks leaves no hole in it."""

import pytest

from keydistill.encoders import ItemText
from keydistill.errors import StudentError

ALL = {"brand": "Acme", "color": "red"}


@pytest.mark.parametrize(
    ("template", "category", "fields", "text"),
    [
        ("{leaf}: {title} {brand}", "A > Shoes", ALL, "Shoes: X1 Acme"),
        ("{leaf}: {title} {brand}", "A > Shoes", {}, "Shoes: X1"),
        ("{leaf}: {title} {brand}", None, ALL, "X1 Acme"),
        ("{leaf}: {title} {brand}", "4711", {"brand": "  "}, "X1"),
        ("{brand} {title}, {color}", None, {"color": "red"}, "X1, red"),
        ("{brand} {title}, {color}", None, {"brand": "Acme"}, "Acme X1"),
        ("{title} ({brand}) {color}.", None, {"color": "red"}, "X1 red."),
        ("{title} ({brand}) {color}.", None, {"brand": "Acme", "color": None}, "X1 (Acme)"),
        ("{title} [{brand}]", "A > Shoes", {}, "X1"),
        ("item: {title} {brand}", None, ALL, "item: X1 Acme"),
        ("{title}", "A > Shoes", ALL, "X1"),
        ("{path} | {title}", "A > Shoes", None, "A > Shoes | X1"),
        ("{title} ({brand}, {color})", None, ALL, "X1 (Acme, red)"),
        ("{title} ({brand}, {color})", None, {"brand": "Acme"}, "X1 (Acme)"),
        ("{title} ({brand}, {color})", None, {"color": "red"}, "X1 (red)"),
        ("{title} ({leaf} [{brand}])", "A > Shoes", {}, "X1 (Shoes)"),
        ("{title} ({leaf} [{brand}])", None, ALL, "X1 ([Acme])"),
        ("{leaf} {{new}} {title}", "A > Shoes", None, "Shoes {new} X1"),
        ("{title} {{{leaf}}}", "A > Shoes", None, "X1 {Shoes}"),
        ("{title} {{{brand}}}, {leaf}", "A > Shoes", {}, "X1 Shoes"),
        ("(new) {title} by {brand}", None, ALL, "(new) X1 by Acme"),
        ("1) {leaf} > {title} <3 {brand}", "A > Shoes", ALL, "1) Shoes > X1 <3 Acme"),
        ("[{title}) {brand}", None, ALL, "[X1) Acme"),
    ],
)
def test_rendering(template: str, category: str | None, fields: dict[str, str | None] | None, text: str) -> None:
    assert ItemText(template).render("X1", category, fields) == text
    assert ItemText(template).render_all(["X1"], [category], [fields]) == [text]


def test_free_fields_are_the_names_that_are_columns() -> None:
    assert ItemText("{leaf}: {title} {brand} {shoe size} {brand}").free_fields == ("brand", "shoe size")
    assert ItemText().free_fields == ()


@pytest.mark.parametrize(
    "template",
    [
        "{brand}",
        "{title",
        "{title} {brand.name}",
        "{title} {0}",
        "{title!r}",
        "{title:>9}",
        "{title} {site}",
        "{title} {}",
        "(" * 300 + "{title}" + ")" * 300,
    ],
)
def test_templates_that_cannot_be_filled_are_refused(template: str) -> None:
    with pytest.raises(StudentError, match="item text template"):
        ItemText(template)
