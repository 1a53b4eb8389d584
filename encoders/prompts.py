"""The prompts of a student: texts that its training put before keyphrases and before items, as E5's "query: ".

They stand in `config_sentence_transformers.json`, and mean what `encode_query` and `encode_document` of
sentence-transformers make of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keydistill.encoders.student_layout import StudentLayout, read_json
from keydistill.errors import StudentError

FILE = "config_sentence_transformers.json"
_KEYPHRASE_NAMES = ("query",)
_ITEM_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The text before a keyphrase and the text before an item; mostly there is none."""

    keyphrase: str = ""
    item: str = ""

    @classmethod
    def of(cls, folder: Path) -> Prompts:
        """The prompts of the student in a folder.

        Raises:
            StudentError: They are damaged, belong to other uses only, or are left out of the pooling.
        """
        file = folder / FILE
        content = read_json(file) if file.is_file() else {}
        named = (content.get("prompts") or {}) if isinstance(content, dict) else None
        if not isinstance(named, dict) or not all(text is None or isinstance(text, str) for text in named.values()):
            raise StudentError(f'{file} has prompts that are no texts by name; write {{"query": "query: "}} or none')
        texts = {name: text or "" for name, text in named.items()}
        default = content.get("default_prompt_name")
        prompts = cls(
            _first(texts, _KEYPHRASE_NAMES, default, file=file), _first(texts, _ITEM_NAMES, default, file=file)
        )
        known = {*_KEYPHRASE_NAMES, *_ITEM_NAMES}
        if any(texts.values()) and not known & set(texts) and default is None:
            raise StudentError(
                f"{file} has the prompts {', '.join(map(repr, texts))}, but none for keyphrases or items; name them "
                '"query" and "document" there, or take the others out'
            )
        if prompts:
            _check_pooling(folder)
        return prompts

    def __bool__(self) -> bool:
        return bool(self.keyphrase or self.item)

    def before_keyphrases(self, keyphrases: Sequence[str]) -> Sequence[str]:
        """Keyphrases, each with its prompt."""
        return _after(self.keyphrase, keyphrases)

    def before_items(self, items: Sequence[str]) -> Sequence[str]:
        """Texts of items, each with its prompt."""
        return _after(self.item, items)

    def saved(self) -> dict[str, str | None]:
        """The prompts by the names under which sentence-transformers keeps them."""
        return {"query": self.keyphrase, "document": self.item}


def _after(prompt: str, texts: Sequence[str]) -> Sequence[str]:
    return [prompt + text for text in texts] if prompt else texts


def _first(texts: dict[str, str], names: tuple[str, ...], default: object, *, file: Path) -> str:
    """The first prompt of these names that says something; the default one where the file has none of these names."""
    if default is not None and default not in texts:
        raise StudentError(f"{file} names the default prompt {default!r}, which is none of its prompts; write it there")
    if any(name in texts for name in names):
        return next((texts[name] for name in names if texts.get(name)), "")
    return "" if default is None else texts[str(default)]


def _check_pooling(folder: Path) -> None:
    for module in StudentLayout.of(folder).items[1:]:
        config = module / "config.json"
        if config.is_file() and read_json(config).get("include_prompt") is False:
            raise StudentError(
                f"{config} leaves the prompt out of the pooling (include_prompt), which keydistill does not do; choose "
                "another student, or one without prompts"
            )
