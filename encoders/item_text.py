"""The text of an item that a model reads: its title, and its leaf category where the model was taught it.

The template is a part of the model: it lies in its folder, so that whoever embeds an item does it as in training.
"""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.errors import StudentError
from keydistill.files import replace_json
from keydistill.tables import leaf_name

# File in a model's folder with what keydistill knows of the model and sentence-transformers does not.
MODEL_FILE = "keydistill.json"
_FIELDS = {"title", "leaf", "path"}


@dataclass(frozen=True, slots=True)
class ItemText:
    """A template with `{title}`, and optionally `{leaf}` (the last name of the category) or `{path}` (all of it).

    >>> ItemText("{leaf}: {title}").render("Acme X1 black", "Audio > Headphones")
    'Headphones: Acme X1 black'
    >>> ItemText("{leaf}: {title}").render("Acme X1 black", None)
    'Acme X1 black'
    """

    template: str = "{title}"

    def __post_init__(self) -> None:
        """Refuse a template that cannot be filled.

        Raises:
            StudentError: It is malformed, lacks `{title}` or names an unknown field.
        """
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None}
        except ValueError as error:
            raise StudentError(f"item text template {self.template!r} is malformed: {error}") from None
        if "title" not in fields or not fields <= _FIELDS:
            raise StudentError(
                f"item text template {self.template!r} has the fields {sorted(fields)}; "
                "expected {title}, and if wanted {leaf} or {path}"
            )

    def render(self, title: str, category: str | None = None) -> str:
        """The text of one item; the title alone where the category is unknown or only a number.

        Args:
            title: The listing's title.
            category: Its category as a path, "A > B > C".
        """
        if self.template == "{title}" or not category or not any(map(str.isalpha, category)):
            return title
        return self.template.format(title=title, leaf=leaf_name(category), path=category)

    def render_all(self, titles: Sequence[str], categories: Sequence[str | None] | None = None) -> list[str]:
        """The texts of n items."""
        if categories is None:
            return list(titles)
        return [self.render(title, category) for title, category in zip(titles, categories, strict=True)]


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
