"""The text of an item that a model reads: its title, and its category and further fields where it was taught them.

The template is a part of the model: it lies in its folder, so that whoever embeds an item does it as in training.
"""

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from keydistill.encoders.models import find_model
from keydistill.errors import StudentError
from keydistill.files import replace_json
from keydistill.tables import leaf_name

# File in a model's folder with what keydistill knows of the model and sentence-transformers does not.
MODEL_FILE = "keydistill.json"
_FIELDS = {"title", "leaf", "path"}
# Columns of items that are no free fields.
_COLUMNS = {"item_id", "site", "category_path", "category_id", "fields"}
# Brackets may be in brackets, and the folder of somebody else's model may hold any template.
_MOST_CHARS = 500
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_NAME = re.compile(r"[^\W\d][\w -]*")

# Free fields of an item by name; None and blanks are as if the field were not there.
ItemFields = Mapping[str, str | None]


@dataclass(slots=True)
class _Part:
    """A template, or what is in brackets in it: fields and brackets, and the texts around and between them."""

    opening: str = ""
    elements: list["str | _Part"] = field(default_factory=list)
    texts: list[str] = field(default_factory=lambda: [""])
    closing: str = ""

    def add(self, element: "str | _Part") -> None:
        """Put a field or a bracket after what is there."""
        self.elements.append(element)
        self.texts.append("")

    def add_text(self, part: "_Part") -> None:
        """Put a part there without being one: a bracket that is not closed, or has no field."""
        self.texts[-1] += part.opening + part.texts[0]
        self.elements += part.elements
        self.texts += part.texts[1:]
        self.texts[-1] += part.closing

    def filled(self, known: Mapping[str, str]) -> str:
        """Its text with what is known; empty where nothing of it is."""
        text, is_before = "", True
        for element, between in zip(self.elements, self.texts, strict=False):
            value = known.get(element, "") if isinstance(element, str) else element.filled(known)
            if value:
                text += (between if is_before else " " if text else "") + value
            is_before = bool(value)
        return text and self.opening + text + (self.texts[-1] if is_before else "") + self.closing


@lru_cache
def _parsed(template: str) -> _Part:
    outer: list[_Part] = []
    part = _Part()
    for literal, name, _, _ in string.Formatter().parse(template):
        for char in literal:
            if char in _CLOSING:
                outer.append(part)
                part = _Part(char)
            elif part.opening and char == _CLOSING[part.opening]:
                part.closing = char
                inner, part = part, outer.pop()
                (part.add if inner.elements else part.add_text)(inner)
            else:
                part.texts[-1] += char
        if name:
            part.add(name)
    while outer:
        inner, part = part, outer.pop()
        part.add_text(inner)
    return part


@lru_cache
def _free_fields(template: str) -> tuple[str, ...]:
    names = (name for _, name, _, _ in string.Formatter().parse(template) if name)
    return tuple(dict.fromkeys(name for name in names if name not in _FIELDS))


@dataclass(frozen=True, slots=True)
class ItemText:
    """A template with `{title}`, and what else stands for an item.

    `{leaf}` is the last name of its category, `{path}` all of it; any other name is a free field of the item, such as
    `{brand}`. What an item lacks leaves no hole: the text between two fields stands there if both of them do, otherwise
    a space; brackets stand with what is in them, and what is before the first field, or after the last one, stands with
    that field. Doubled braces are braces.

    >>> ItemText("{leaf}: {title}").render("Acme X1 black", "Audio > Headphones")
    'Headphones: Acme X1 black'
    >>> ItemText("{leaf}: {title}").render("Acme X1 black", None)
    'Acme X1 black'
    >>> ItemText("{title} by {brand} ({color})").render("X1", fields={"brand": "Acme"})
    'X1 by Acme'
    >>> ItemText("{title} by {brand} ({color})").render("X1", fields={"color": "black"})
    'X1 (black)'
    """

    template: str = "{title}"

    def __post_init__(self) -> None:
        """Refuse a template that cannot be filled.

        Raises:
            StudentError: It is malformed, lacks `{title}`, or has more than names in its braces.
        """
        if len(self.template) > _MOST_CHARS:
            raise StudentError(f"item text template of {len(self.template):,} characters; at most {_MOST_CHARS}")
        try:
            pieces = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise StudentError(f"item text template {self.template!r} is malformed: {error}") from None
        names = [name for _, name, _, _ in pieces if name is not None]
        is_plain = all(
            name is None or (_NAME.fullmatch(name) and not form and not conversion)
            for _, name, form, conversion in pieces
        )
        if "title" not in names or not is_plain or not _COLUMNS.isdisjoint(names):
            raise StudentError(
                f"item text template {self.template!r} has the fields {sorted(names)}; expected {{title}}, and if "
                "wanted {leaf}, {path}, or the names of further columns of items, such as {brand}"
            )

    @property
    def free_fields(self) -> tuple[str, ...]:
        """The names of its fields that are further columns of items."""
        return _free_fields(self.template)

    def render(self, title: str, category: str | None = None, fields: ItemFields | None = None) -> str:
        """The text of one item; the title alone where nothing else that is in the template is known.

        Args:
            title: The listing's title.
            category: Its category as a path, "A > B > C"; one that is only a number says nothing.
            fields: Further fields of the item.
        """
        known = {name: text for name in self.free_fields if (text := ((fields or {}).get(name) or "").strip())}
        if category and any(map(str.isalpha, category)):
            known |= {"leaf": leaf_name(category), "path": category}
        if not known or self.template == "{title}":
            return title
        return _parsed(self.template).filled({**known, "title": title})

    def render_all(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> list[str]:
        """The texts of n items."""
        nothing = [None] * len(titles)
        return [
            self.render(title, category, further)
            for title, category, further in zip(titles, categories or nothing, fields or nothing, strict=True)
        ]


def read_model_file(folder: Path) -> dict[str, Any]:
    """The content of a model's `keydistill.json`; empty where there is none.

    Raises:
        StudentError: The file is damaged.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudentError(f"{path} is damaged: {error}; train or copy the model again") from None
    if not isinstance(content, dict):
        raise StudentError(
            f"{path} holds a {type(content).__name__}; expected an object; train or copy the model again"
        )
    return content


def write_model_file(folder: Path, **content: Any) -> None:
    """Write a model's `keydistill.json`; fields that are not given keep their values."""
    replace_json(folder / MODEL_FILE, {**read_model_file(folder), **content})


def item_text_of(folder: Path) -> ItemText:
    """The template of the model in a folder; the plain title where it says nothing."""
    return ItemText(read_model_file(folder).get("item_text", "{title}"))


def item_fields_of(source: str) -> tuple[str, ...]:
    """The free fields of items that a student reads, given its folder or name.

    Raises:
        StudentError: It cannot be found, or is damaged.
    """
    return item_text_of(find_model(source)).free_fields
