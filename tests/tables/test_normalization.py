# ruff: noqa: RUF001
import re
import sys
import unicodedata
import uuid
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keydistill.ingest.inventory.identity import NAMESPACE, point_id, text_hash
from keydistill.tables import ALIASES, MISSING_VALUES, Reason, RejectedValueError, normalize_keyphrase, normalize_label
from tests.support.places import ROOT

usable_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd") | st.sampled_from("\t\n\v\f\r\x85")
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Red   SHOES ", "red shoes"),
        ("red\tshoes\r\nsize\u00a09\u3000\u2028eu", "red shoes size 9 eu"),
        ("Straße", "straße"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("\uff32\uff25\uff24", "red"),
        ("№ ½ ﬁx", "no ½ fix"),
        ("cafe\u0301", "café"),
        ("sho\u200bes\u00ad", "shoes"),
        ("\ufeffshoes\u200e", "shoes"),
        ("a\u200d\u0301", "á"),
        ("İstanbul", "i\u0307stanbul"),
        ("\u200b \u00ad", ""),
        ("\u3164 \uffa0 \u2800", ""),
        ("１２㎏ 5㎡ 10 m² H₂O", "12kg 5m2 10 m2 h2o"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("𝓝𝓲𝓴𝓮 Ⅳ ℃", "nike iv °c"),
        ("\u2764\ufe0f", "\u2764"),
        # Thai AM as one letter, as two, and with the tone mark between them.
        ("น\u0e49\u0e33", "น\u0e49\u0e33"),
        ("น\u0e4d\u0e49\u0e32", "น\u0e49\u0e33"),
        ("น\u0e49\u0e4d\u0e32", "น\u0e49\u0e33"),
        # Malayalam N at the end of a syllable, as older keyboards write it.
        ("\u0d28\u0d4d\u200d", "\u0d7b"),
        # After a letter that never joins, a non-joiner changes nothing.
        ("کار\u200cها", "کارها"),
        ("ﺳﻼﻡ", "سلام"),
        ("ㅋㅋ", "ㅋㅋ"),
        ("", ""),
    ],
)
def test_ways_to_type_the_same(raw: str, expected: str) -> None:
    assert normalize_keyphrase(raw) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1½ inch", "11⁄2 inch"),
        ("10²", "102"),
        ("10₂", "102"),
        ("nike™", "niketm"),
        ("set①", "set1"),
        ("1⒈", "11."),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0001f3f4"),
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        ),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\U0001f308"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("👩\U0001f3fd\u200d🚀", "👩\U0001f3fd🚀"),
        ("می\u200cخواهم", "میخواهم"),
        ("ක\u0dca\u200dෂ", "ක\u0dcaෂ"),
        ("हिन\u094d\u200cदी", "हिन\u094dदी"),
        ("\u0e01\u200d\u0e02", "\u0e01\u0e02"),
        ("\u0601\u0661", "\u0661"),
    ],
)
def test_what_differs_for_readers_stays_different(one: str, other: str) -> None:
    for normalize in (normalize_keyphrase, normalize_label):
        assert normalize(one) == one
        assert normalize(other) != one


def test_labels_keep_their_case() -> None:
    assert normalize_label("  EBAY\u00a0us ") == "EBAY us"


@pytest.mark.parametrize("normalize", [normalize_keyphrase, normalize_label])
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("a\x00b", Reason.CONTROL_CHARACTER),
        ("a\x1fb", Reason.CONTROL_CHARACTER),
        ("a\x7f", Reason.CONTROL_CHARACTER),
        ("a\x9b", Reason.CONTROL_CHARACTER),
        ("\udce9t\udce9", Reason.BAD_ENCODING),
        ("caf\ufffd", Reason.BAD_ENCODING),
    ],
)
def test_damaged_text_is_refused(normalize: Callable[[str], str], raw: str, reason: Reason) -> None:
    with pytest.raises(RejectedValueError) as error:
        normalize(raw)
    assert error.value.reason is reason


@given(usable_text)
@example("ϓ̈")
@example("\u0345\u0300")
@example("ﬃ\u200d\u0301İ\u0307")
def test_normalising_twice_is_normalising_once(raw: str) -> None:
    for normalize in (normalize_keyphrase, normalize_label):
        once = normalize(raw)
        assert normalize(once) == once
        assert unicodedata.is_normalized("NFC", once)
        assert once == " ".join(once.split())
        # Composed or decomposed, wide or narrow, in capitals or not: the same keyphrase.
        for form in ("NFC", "NFD"):
            assert normalize(unicodedata.normalize(form, raw)) == once
        assert not [c for c in once if unicodedata.decomposition(c).startswith(("<wide>", "<narrow>", "<final>"))]


def test_every_character_settles() -> None:
    # Many words at once, which is a hundred times as fast as a million of single ones. What is assigned to nobody, or
    # to everybody, is nine tenths of all: there a word has many of them.
    words, unassigned = [], []
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category in ("Cn", "Co"):
            unassigned.append(f"{character}\u0301")
        elif character != "\ufffd" and category not in ("Cc", "Cs"):
            words.append(f"A{character}\u0301")
    words += ["A" + "".join(unassigned[start : start + 16]) for start in range(0, len(unassigned), 16)]
    for start in range(0, len(words), 256):
        once = normalize_keyphrase(" ".join(words[start : start + 256]))
        assert normalize_keyphrase(once) == once


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_ascii_takes_a_short_cut_to_the_same_result(raw: str) -> None:
    assert normalize_keyphrase(raw) == normalize_keyphrase(raw + "é").removesuffix("é").strip()


@given(st.none() | st.text(), st.text())
def test_point_ids_are_uuid5(site: str | None, keyphrase: str) -> None:
    try:
        f"{site}{keyphrase}".encode()
    except UnicodeEncodeError:
        return
    assert point_id(site, keyphrase) == str(uuid.uuid5(NAMESPACE, (site or "") + "\x1f" + keyphrase))


def test_point_ids_do_not_change() -> None:
    # Stored collections hold them.
    assert point_id(None, "red shoes") == "3656763e-4f81-5855-9a67-2a7a5aebbf2a"
    assert point_id("US", "red shoes") == "43c47f6e-d79e-51c3-84e0-44052ae1104c"
    assert text_hash("red shoes") == "61959b3a303f52c5"


def test_site_and_keyphrase_do_not_run_into_each_other() -> None:
    assert point_id("a", "b c") != point_id("a b", "c")
    assert point_id(None, "a b") != point_id("a", "b")


def test_the_examples_of_the_documentation() -> None:
    text = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    examples = re.findall(r"^\| (\w+) \| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len({script for script, _, _ in examples}) > 10
    for script, written, becomes in examples:
        raw, expected = (re.sub(r"\\u(\w{4})", lambda code: chr(int(code[1], 16)), cell) for cell in (written, becomes))
        assert normalize_keyphrase(raw) == expected, script


def test_the_documentation_lists_what_stands_for_nothing() -> None:
    text = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:marks|words in brackets|words, spelled like this) \| (.+) \|$", text, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", " ".join(rows)) == list(MISSING_VALUES)


def test_the_documentation_lists_the_names_of_others() -> None:
    text = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    for column, names in ALIASES.items():
        assert f"| `{column}` | {', '.join(f'`{name}`' for name in names)} |" in text
