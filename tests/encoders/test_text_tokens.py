"""Tokens of remembered words are those of the tokenizer, whatever the text."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keydistill.encoders import find_model, text_tokens
from keydistill.encoders.text_tokens import TextTokens, shared_tokens

SERIALISED = (find_model("sentence-transformers/all-MiniLM-L6-v2") / "tokenizer.json").read_text(encoding="utf-8")
WHOLE = shared_tokens(SERIALISED, 256)
SHORT = shared_tokens(SERIALISED, 6)
TEXTS = [
    "red running shoes",
    "Apple iPhone 13 Pro-Max 256GB (unlocked)",
    "usb-c to 3.5mm",
    "  two  blanks ",
    "",
    " ",
    "tab\tand\nline",
    "bell\x07 null\x00 delete\x7f",
    "café münchen naïve",
    "漢字 keyboard",
    "emoji 👟 shoes",
    "[SEP] [CLS] [MASK] [sep] [x] ]",
    "non\u00a0breaking \u2009thin",
    "a" * 99 + " " + "b" * 100 + " " + "c" * 101,
    "word " * 300,
    "~`!@#$%^&*()_+-={}|:;'\"<>,.?/\\",
    'x_y snake_case 1/2"',
    "\u0130stanbul \u212a kelvin",
]


def expected(tokens: TextTokens, texts: list[str], special_tokens: bool = True) -> list[list[int]]:
    return [encoding.ids for encoding in tokens.tokenizer.encode_batch(texts, add_special_tokens=special_tokens)]


@pytest.mark.parametrize("tokens", [WHOLE, SHORT], ids=["whole", "cut"])
@pytest.mark.parametrize("special_tokens", [True, False])
def test_known_texts(tokens: TextTokens, special_tokens: bool) -> None:
    for _ in range(2):
        assert tokens(TEXTS, special_tokens=special_tokens) == expected(tokens, TEXTS, special_tokens)


PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PLAIN, st.text(max_size=40)), max_size=5), st.booleans())
def test_any_text(texts: list[str], special_tokens: bool) -> None:
    for tokens in (WHOLE, SHORT):
        assert tokens(texts, special_tokens=special_tokens) == expected(tokens, texts, special_tokens)


def changed(**parts: Any) -> TextTokens:
    return shared_tokens(json.dumps(json.loads(SERIALISED) | parts), 256)


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"normalizer": None},
        {"normalizer": {"type": "Lowercase"}},
        {"truncation": {"direction": "Left", "max_length": 6, "strategy": "LongestFirst", "stride": 0}},
    ],
)
def test_a_tokenizer_of_another_kind_is_asked_itself(parts: dict[str, Any]) -> None:
    tokens = shared_tokens(json.dumps(json.loads(SERIALISED) | parts), None if "truncation" in parts else 256)
    assert tokens._rule is None
    assert tokens(TEXTS) == expected(tokens, TEXTS)


def test_one_that_keeps_capitals() -> None:
    cased = changed(normalizer={**json.loads(SERIALISED)["normalizer"], "lowercase": False})
    assert cased._rule is not None
    assert cased(TEXTS) == expected(cased, TEXTS)
    assert cased(["Apple"]) != cased(["apple"])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tokens, "_MOST_WORDS", 3)
    tokens = TextTokens(WHOLE.tokenizer)
    texts = [f"part{number} {number}" for number in range(50)]
    assert tokens(texts) == expected(tokens, texts)
    rule: Any = tokens._rule
    assert len(rule._of_word.__self__) == 3


def test_threads_share_one() -> None:
    tokens = TextTokens(WHOLE.tokenizer)
    texts = [f"blue shoes {number}" for number in range(2_000)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(tokens, [texts] * 4))
    assert all(each == expected(tokens, texts) for each in answers)
