"""What counts as yes and what as no, in the text that a model answers with."""

import json
import re

_WORDS = {"yes": True, "no": False}
# What models put around the one word: quotes, emphasis, a full stop; and how tokenizers mark a leading space.
AROUND = " \t\r\n.!\"'`*▁Ġ"
# Thoughts before the answer. Some templates write the opening mark into the prompt, so that only the closing one comes.
_THOUGHTS = re.compile(
    r"\s*(?:<(think|thinking|thought|reasoning)>)?.*?</(think|thinking|thought|reasoning)>", re.DOTALL
)
_OPEN_THOUGHTS = re.compile(r"\s*<(think|thinking|thought|reasoning)>")
# The answer of a model that writes in channels (https://cookbook.openai.com/articles/openai-harmony).
_CHANNEL = re.compile(r".*<\|channel\|>final<\|message\|>", re.DOTALL)
_FENCE = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
# "Yes, because ...": the word, whatever ends it, and reasons.
_REASONED = re.compile(r"""[\s"'`*]*(yes|no)[\s"'`*]*(?:[,.;:!\n\u2013\u2014]|\s-\s)(.*)""", re.DOTALL | re.IGNORECASE)


def word(text: str) -> bool | None:
    """True for yes, False for no, None for anything but the one word.

    >>> word(" Yes."), word("**no**"), word("yes, because it fits"), word("")
    (True, False, None, None)
    """
    return _WORDS.get(text.strip(AROUND).lower())


def answer_in(text: str) -> bool | None:
    r"""What an answer says: one word, after thoughts that ended, in a fence or in JSON, or first of all with reasons.

    Reasons count after a yes or no that punctuation or the end of the line ends, unless they have the other word in
    them: whoever writes both may mean either.

    >>> answer_in("<think>It fits.</think> yes"), answer_in('```json\n{"answer": "no"}\n```')
    (True, False)
    >>> answer_in("Yes, it fits."), answer_in("Yes, but no"), answer_in("Yes and no"), answer_in("It fits.")
    (True, None, None, None)
    """
    thoughts = _THOUGHTS.match(text)
    if thoughts and thoughts[1] in (None, thoughts[2]):
        text = text[thoughts.end() :]
    text = _CHANNEL.sub("", text, count=1)
    if fence := _FENCE.fullmatch(text):
        text = fence[1]
    if text.lstrip().startswith("{"):
        return _in_object(text)
    if (plain := word(text)) is not None:
        return plain
    reasoned = _REASONED.fullmatch(text)
    if reasoned is None:
        return None
    first = _WORDS[reasoned[1].lower()]
    others = {_WORDS[other] for other in re.findall(r"\b(yes|no)\b", reasoned[2].lower())}
    return first if others <= {first} else None


def thinks(text: str) -> bool:
    """Whether an answer ends in the midst of its thoughts."""
    return _OPEN_THOUGHTS.match(text) is not None and answer_in(text) is None


def _in_object(text: str) -> bool | None:
    """The value of `answer` in a JSON object."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    values = [value for name, value in pairs if name.strip().lower() == "answer"]
    if len(values) != 1:
        return None
    return values[0] if isinstance(values[0], bool) else word(values[0]) if isinstance(values[0], str) else None
