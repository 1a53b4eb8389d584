"""Every knob of a simulated marketplace, in one place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from keydistill.errors import SettingsError

MOST_KEYPHRASES = 10_000_000
MOST_ITEMS = 1_000_000


def _knob(default: Any, low: float, high: float, help_text: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "help": help_text})


def _share(default: float, help_text: str) -> Any:
    return _knob(default, 0.0, 1.0, help_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketplaceSettings:
    """How large the marketplace is, how it is worded, and how biased its signals are.

    Each field's metadata holds its `low` and `high` limits, both allowed, and its `help` text: the command line and
    the documentation take them from here.

    Raises:
        SettingsError: A value is outside its limits or of the wrong type.
    """

    items: int = _knob(20_000, 1, MOST_ITEMS, "number of items")
    keyphrases: int = _knob(100_000, 1, MOST_KEYPHRASES, "number of keyphrases in the inventory")
    seed: int = _knob(0, 0, 2**63 - 1, "same seed and settings, same bytes")
    sites: tuple[str, ...] = field(default=("US",), metadata={"help": "sites; the first is the largest"})
    leaf_categories: int | None = _knob(
        None, 1, 10_000, "use only the first so many leaf categories; unset: all of them"
    )

    title_typo_share: float = _share(0.08, "share of titles with a typing error")
    title_spam_share: float = _share(0.3, "share of titles that name things they are not: other brands and models")
    title_filler_share: float = _share(0.45, "share of titles with words that say nothing")
    title_omission_share: float = _share(
        0.03, "chance that a title leaves an attribute out, which makes its truth unknowable from the text"
    )
    synonym_share: float = _share(0.4, "chance that a word is replaced by a synonym or abbreviation")
    misspelling_share: float = _share(0.06, "share of keyphrases with a misspelt word")
    reorder_share: float = _share(0.3, "share of keyphrases whose words stand in an unusual order")
    messy_share: float = _share(0.03, "share of keyphrases with odd case, spaces or full-width digits")
    constraints_mean: float = _knob(
        1.7, 0.0, 6.0, "constraints per keyphrase beside the product itself, on average: more make a longer tail"
    )
    uncategorised_share: float = _share(0.04, "share of keyphrases whose category nobody knows")
    volume_skew: float = _knob(0.9, 0.0, 3.0, "exponent of the Zipf law that search volumes follow; 0: all alike")

    search_pool: int = _knob(
        40, 1, 1_000, "pairs per item of each kind (relevant, near-miss) that the search filter judges"
    )
    search_threshold: float = _share(0.6, "search score at and above which the filter lets a pair through")
    search_noise: float = _knob(0.1, 0.0, 2.0, "standard deviation of the noise in the search score")
    middleman_bias: float = _share(
        1.0, "how far the search score follows words instead of truth; 0: the filter passes exactly what is true"
    )

    position_bias: float = _knob(
        1.0, 0.0, 5.0, "exponent eta: a buyer looks at position p with probability p to the power of -eta"
    )
    popularity_skew: float = _knob(
        0.8, 0.0, 3.0, "how unequal items' popularity is, which lifts rank and clicks; 0: all alike"
    )
    ranking_noise: float = _knob(0.1, 0.0, 2.0, "standard deviation of the noise in the ranking")
    results_shown: int = _knob(48, 1, 1_000, "positions per keyphrase that are ever shown; the rest is missing")
    traffic: float = _knob(0.02, 0.0, 10.0, "searches in the click log per unit of search volume")
    click_rate: float = _share(0.2, "chance that a buyer who looks at a relevant item of mean appeal clicks")
    click_noise: float = _share(0.01, "the same for an irrelevant item")

    judged_pairs: int = _knob(10, 0, 1_000, "judged pairs per item: a third relevant, near-miss, random each")
    judge_false_positive_rate: float = _share(0.08, "chance that the judge says yes to a near-miss")
    judge_false_negative_rate: float = _share(0.1, "chance that the judge says no to a relevant pair")
    judge_random_false_positive_rate: float = _share(0.002, "chance that the judge says yes to a random pair")

    def __post_init__(self) -> None:
        for knob in fields(self):
            if knob.name == "sites":
                continue
            value = getattr(self, knob.name)
            if value is None and knob.default is None:
                continue
            _check(knob.name, value, knob.default, knob.metadata)
        texts = isinstance(self.sites, tuple) and all(isinstance(s, str) and s.strip() for s in self.sites)
        if not texts or not self.sites or len(set(self.sites)) < len(self.sites):
            raise SettingsError(f"sites is {self.sites!r}; expected one or more different names, such as ('US',)")


def _check(name: str, value: object, default: object, limits: Mapping[str, float]) -> None:
    low, high = limits["low"], limits["high"]
    whole = not isinstance(default, float)
    kind = "a whole number" if whole else "a number"
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        option = "--" + name.replace("_", "-")
        raise SettingsError(f"{name} is {value!r}; expected {kind} from {low} to {high}; set it with {option}")
