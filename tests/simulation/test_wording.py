"""Titles and keyphrases: different, worded like a market's, and misleading to whoever only compares words."""

import re
import unicodedata
from collections import Counter, defaultdict

import numpy as np
import pytest

from keydistill.simulation import read_truth, score
from keydistill.simulation.wording.brands import MAKERS
from keydistill.simulation.wording.catalogue import MOST_CONSTRAINTS, SLOT, compile_catalogue
from keydistill.simulation.wording.departments import PRODUCTS
from keydistill.simulation.wording.domains import DOMAINS
from keydistill.simulation.wording.vocabulary import FORMS
from tests.simulation.conftest import Make, Rows, Written


def normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:\.\d+)?", normal(text))


@pytest.mark.parametrize("sites", [("US",), ("US", "UK")])
def test_keyphrases_are_unique_within_their_site_once_normalised(make: Make, sites: tuple[str, ...]) -> None:
    rows = make(sites=sites, messy_share=0.5, keyphrases=4_000).rows("inventory")
    assert len(rows) == 4_000
    assert len({(row["site"], normal(row["keyphrase"])) for row in rows}) == 4_000


def test_messy_share_gives_normalisation_work(make: Make) -> None:
    for share in (0.0, 0.5):
        rows = make(str(share), messy_share=share).rows("inventory")
        odd = np.mean([row["keyphrase"] != normal(row["keyphrase"]) for row in rows])
        assert odd == pytest.approx(share, abs=0.15)
        assert (odd == 0) == (share == 0)


def test_volumes_follow_zipf_and_segments_their_ranks(market: Written) -> None:
    rows = sorted(market.rows("inventory"), key=lambda row: -row["search_volume"])
    counts = Counter(row["segment"] for row in rows)
    assert counts == {"head": 80, "torso": 1_520, "tail": 6_400}
    volumes = np.array([row["search_volume"] for row in rows], dtype=float)
    slope = np.polyfit(np.log(np.arange(1, len(rows) + 1)), np.log(volumes), 1)[0]
    assert slope == pytest.approx(-0.9, abs=0.02)
    lengths = {name: np.mean([len(words(r["keyphrase"])) for r in rows if r["segment"] == name]) for name in counts}
    assert lengths["head"] < lengths["torso"] < lengths["tail"]
    least = {name: min(row["search_volume"] for row in rows if row["segment"] == name) for name in counts}
    assert least["head"] > least["torso"] > least["tail"] >= 1


def test_volume_skew_zero_makes_all_alike(make: Make) -> None:
    assert len({row["search_volume"] for row in make(volume_skew=0.0).rows("inventory")}) == 1


def test_categories_are_those_of_what_is_asked_for(market: Written) -> None:
    leaf_of = {product.nouns[0]: product.leaf for product in PRODUCTS}
    leaves_of = defaultdict(set)
    for product in PRODUCTS:
        leaves_of[product.family].add(product.leaf)
    meanings = {row["keyphrase"]: row for row in market.rows("meanings")}
    unknown = several = 0
    for row in market.rows("inventory"):
        meaning, leaves = meanings[row["keyphrase"]], row["category_path"]
        assert (meaning["product"] is None) != (meaning["family"] is None)
        if leaves is None:
            unknown += 1
        elif meaning["product"] is not None:
            assert leaves == [leaf_of[meaning["product"]]]
        else:
            assert set(leaves) == leaves_of[meaning["family"]]
            several += len(leaves) > 1
    assert unknown / market.summary.rows["inventory"] == pytest.approx(0.04, abs=0.01)
    assert several > 50
    assert all(row["category_path"] == leaf_of[row["product"]] for row in market.rows("items"))


def test_catalogue_is_unambiguous() -> None:
    nouns = Counter(noun for product in PRODUCTS for noun in product.nouns)
    families = {product.family for product in PRODUCTS if product.family}
    assert [noun for noun, count in nouns.items() if count > 1] == []
    assert not families & set(nouns)
    for product in PRODUCTS:
        forms: Counter[str] = Counter()
        for slot, domain in product.attributes.items():
            for name in DOMAINS[slot][domain]:
                forms.update(set(FORMS[slot].get(name, (name,))))
        assert [form for form, count in forms.items() if count > 1] == [], product.nouns[0]
    makers = {product.makers for product in PRODUCTS} | {product.fits for product in PRODUCTS}
    assert makers - {None} <= set(MAKERS)


def test_catalogue_is_as_large_as_promised() -> None:
    leaves = {product.leaf for product in PRODUCTS}
    assert 40 <= len(leaves) <= 90
    assert 8 <= len({leaf.split(" > ")[0] for leaf in leaves}) <= 16
    assert compile_catalogue(("US",)).meanings() > 5_000_000
    assert compile_catalogue(("US",)).meanings() > compile_catalogue(("US",), 3).meanings()


def test_keyphrases_ask_for_no_more_than_the_most_constraints(market: Written) -> None:
    traits = ("color", "size", "capacity", "material", "audience", "condition", "feature")
    counts = []
    for row in market.rows("meanings"):
        named = any(row[slot] for slot in ("brand", "line", "model"))
        fitted = any(row[slot] for slot in ("fit_brand", "fit_line", "fit_model"))
        counts.append(sum(row[slot] is not None for slot in traits) + named + fitted)
    assert max(counts) <= MOST_CONSTRAINTS
    assert 1.0 < np.mean(counts) < 2.2


def test_titles_are_short_and_say_what_the_item_is(market: Written) -> None:
    items = market.rows("items")
    assert max(len(item["title"]) for item in items) <= 80
    mentions = [
        any(normal(form) in normal(item["title"]) for form in FORMS["color"].get(item["color"], (item["color"],)))
        for item in items
        if item["color"]
    ]
    assert 0.9 < np.mean(mentions) < 1.0


def test_spam_names_only_what_the_item_is_not(make: Make) -> None:
    pattern = re.compile(r"(?:not for|won't fit|doesn't fit) (.+?)(?: with | w/|$)", re.IGNORECASE)
    spam_names = 0
    for item in make(title_spam_share=1.0, title_filler_share=0.0, title_typo_share=0.0).rows("items"):
        for name in pattern.findall(item["title"]):
            spam_names += 1
            assert normal(name) not in {*item["fit_models"], item["model"], item["fit_brand"], item["fit_line"]}
    assert spam_names > 30
    clean = make("clean", title_spam_share=0.0).rows("items")
    assert not any(pattern.search(item["title"]) for item in clean)


def test_misspellings_and_omissions_have_knobs(make: Make) -> None:
    known = {
        word for form in make("clean", misspelling_share=0.0).rows("inventory") for word in words(form["keyphrase"])
    }
    spelt = make("spelt", misspelling_share=0.0, seed=6).rows("inventory")
    misspelt = make("misspelt", misspelling_share=0.8, seed=6).rows("inventory")

    def unknown(rows: Rows) -> float:
        return float(np.mean([any(word not in known for word in words(row["keyphrase"])) for row in rows]))

    assert unknown(misspelt) > unknown(spelt) + 0.4
    bare = make("bare", title_omission_share=1.0).rows("items")
    assert np.mean([len(item["title"]) for item in bare]) < 45


def test_word_overlap_is_measurably_wrong(market: Written) -> None:
    """BM25 over the whole inventory, and the plain share of the keyphrase's words, as retrieval baselines."""
    truth = read_truth(market.folder / "truth.parquet")
    texts = [row["keyphrase"] for row in market.rows("inventory")]
    items = market.rows("items")[:300]
    judged: dict[str, set[str]] = {item["item_id"]: truth.get(item["item_id"], set()) for item in items}
    numbers: dict[str, int] = {}
    bags = [[numbers.setdefault(word, len(numbers)) for word in dict.fromkeys(words(text))] for text in texts]
    seen = np.bincount([number for bag in bags for number in bag], minlength=len(numbers))
    rarity = np.log(1 + (len(texts) - seen + 0.5) / (seen + 0.5))
    lengths = np.array([len(bag) for bag in bags])
    there = np.zeros((len(texts), len(numbers)), dtype=np.float32)
    for place, bag in enumerate(bags):
        there[place, bag] = rarity[bag]
    title_words = np.zeros((len(items), len(numbers)), dtype=np.float32)
    for place, item in enumerate(items):
        title_words[place, [numbers[word] for word in words(item["title"]) if word in numbers]] = 1
    overlap = title_words @ there.T
    scores = {
        "bm25": overlap * 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths / lengths.mean())),
        "share": overlap / there.sum(axis=1),
    }
    for name, matrix in scores.items():
        best = np.argsort(-matrix, axis=1, kind="stable")[:, :10]
        recommended = {item["item_id"]: [texts[at] for at in row] for item, row in zip(items, best, strict=True)}
        result = score(judged, recommended, 10)
        assert 0.05 < result.precision < 0.6, name
        assert result.recall < 0.7 * result.best_recall, name


def test_slots_are_the_columns_of_meanings(market: Written) -> None:
    assert set(SLOT) <= set(market.rows("meanings")[0])
