r"""Prompt templates: TOML files that a person can edit, and how an item and a keyphrase get into them.

A title is written by a stranger, so it enters as a JSON string in which nothing can be mistaken for the template or for
the markup of a chat:

- quotes, line ends and control characters are escaped by JSON itself, so that the string cannot be ended from inside;
- "<", and "[" before a word in capitals, are written as \\u003c and \\u005b, so that no special token of a model
  (`<|im_end|>`, `</s>`, `[/INST]`) comes into being when the prompt is tokenized;
- invisible characters (Unicode category Cf, line separators) are written as escapes, so that nothing is hidden.
"""

import hashlib
import json
import re
import tomllib
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from keydistill.encoders.judge.judgment import Pair
from keydistill.errors import InputError

_PLACEHOLDER = re.compile(r"\{(item|keyphrase)\}")
_MARKUP = re.compile(r"<|\[(?=/?[A-Z_]{2,}\])")
_FIELDS = ("name", "system", "user", "reminder")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Message = Mapping[str, str]


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt's wording.

    Attributes:
        name: Name of the template.
        system: Instructions that precede the question.
        user: The question, with `{item}` and `{keyphrase}`.
        reminder: Text that is added to the question after a malformed answer.
    """

    name: str
    system: str
    user: str
    reminder: str

    @classmethod
    def load(cls, path: Path | None = None) -> "PromptTemplate":
        """The template of a TOML file, or the one that keydistill brings along.

        Raises:
            InputError: The file is no template; the message says what is wrong with it.
        """
        source = files("keydistill.encoders.judge") / "prompts" / "seller.toml" if path is None else path
        try:
            fields = tomllib.loads(source.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise InputError(f"prompt {source} cannot be read: {reason}; name a TOML file") from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"prompt {source} is not TOML: {error}") from None
        return cls._checked(str(source), fields)

    @classmethod
    def _checked(cls, source: str, fields: Mapping[str, object]) -> "PromptTemplate":
        unknown = sorted(set(fields) - set(_FIELDS))
        if unknown:
            raise InputError(f"prompt {source} has the field {unknown[0]!r}; expected only {', '.join(_FIELDS)}")
        texts = {}
        for name in _FIELDS:
            value = fields.get(name)
            if not isinstance(value, str) or not value.strip():
                raise InputError(f'prompt {source} has no text for {name!r}; write {name} = "..."')
            texts[name] = value.strip()
        if not _NAME.fullmatch(texts["name"]):
            raise InputError(
                f"prompt {source}: name {texts['name']!r} has other characters than letters, digits, . _ -"
            )
        for place in ("item", "keyphrase"):
            if f"{{{place}}}" not in texts["user"]:
                raise InputError(f"prompt {source}: the text of 'user' lacks {{{place}}}, where the {place} goes")
        for name in ("system", "reminder"):
            if _PLACEHOLDER.search(texts[name]):
                raise InputError(f"prompt {source}: only 'user' may have {{item}} and {{keyphrase}}, {name!r} has one")
        return cls(**texts)

    @cached_property
    def version(self) -> str:
        """Name and a hash of the content."""
        content = json.dumps([self.name, self.system, self.user, self.reminder])
        return f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def messages(self, pair: Pair, *, remind: bool = False, special: Collection[str] = ()) -> list[Message]:
        """The chat that asks about a pair.

        Args:
            pair: Pair that is asked about.
            remind: Whether an answer was malformed before.
            special: Further texts that must not come from the pair: the special tokens of a model at hand.
        """
        item = f'{{"title": {_as_json(pair.title, special)}'
        if pair.category:
            names = (_as_json(name.strip(), special) for name in pair.category.split(">"))
            item += f', "category": [{", ".join(names)}]'
        values = {"item": item + "}", "keyphrase": _as_json(pair.keyphrase, special)}
        # One pass: what a title says is not looked at for placeholders.
        user = _PLACEHOLDER.sub(lambda match: values[match[1]], self.user)
        if remind:
            user = f"{user}\n\n{self.reminder}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def _as_json(text: str, special: Collection[str]) -> str:
    marked = {match.start() for match in _MARKUP.finditer(text)}
    for token in filter(None, special):
        marked.update(match.start() for match in re.finditer(re.escape(token), text))
    if not marked and text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    escaped = (
        _escaped(character)
        if place in marked or not (character.isprintable() or unicodedata.category(character) == "Zs")
        else json.dumps(character, ensure_ascii=False)[1:-1]
        for place, character in enumerate(text)
    )
    return f'"{"".join(escaped)}"'


def _escaped(character: str) -> str:
    r"""The JSON escape of a character, also where JSON needs none.

    >>> _escaped("<"), _escaped("\u200b")
    ('\\u003c', '\\u200b')
    """
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
