"""Spellings of one keyphrase."""

import pytest

from keydistill.retrieval.lists.variants import groups_of_variants, variant_keys


def are_variants(one: str, other: str) -> bool:
    return not variant_keys(one).isdisjoint(variant_keys(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("iphone 13 case", "iphone 13 cases"),
        ("iphone 13 case", "case iphone 13"),
        ("head phones", "headphones"),
        ("t-shirt", "tshirt"),
        ("t shirts", "T-Shirt"),
        ("women's shoes", "womens shoe"),
        ("women\u2019s shoes", "women shoes"),
        ("café table", "cafe tables"),
        ("usb-c cable", "usb c cable"),
        ("wd 40", "wd40"),
        ("car batteries", "car battery"),
        ("jewelry boxes", "jewelry box"),
        ("wine glasses", "wine glass"),
    ],
)
def test_what_differs_in_spelling_only_is_one(one: str, other: str) -> None:
    assert are_variants(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("iphone 13 case", "iphone 14 case"),
        ("1.5 mm drill", "15 mm drill"),
        ("1 5 mm drill", "15 mm drill"),
        ("1/2 inch", "12 inch"),
        ("c++ book", "c book"),
        ("c# book", "c book"),
        ("iphone 5s", "iphone 5"),
        ("bus", "bu"),
        ("dress", "dres"),
        ("red case", "case"),
        ("!!!", "???"),
    ],
)
def test_what_means_something_else_stays_apart(one: str, other: str) -> None:
    assert not are_variants(one, other)


def test_vowel_signs_of_other_scripts_are_no_accents() -> None:
    assert not are_variants("किताब", "कताब")


def test_groups_join_over_a_keyphrase_that_is_a_variant_of_both() -> None:
    keyphrases = ["bottle water", "waterbottle", "red shoe", "water bottles", "shoes red"]
    keys = [variant_keys(keyphrase) for keyphrase in keyphrases]
    assert keys[0].isdisjoint(keys[1])
    assert groups_of_variants(keys) == [[0, 1, 3], [2, 4]]
    assert groups_of_variants([variant_keys("!"), variant_keys("?")]) == [[0], [1]]
    assert groups_of_variants([]) == []
