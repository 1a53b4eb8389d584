"""Clicks as evidence of relevance, freed of where a result happened to stand."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from keydistill.distillation.signals.positions import (
    EtaEstimate,
    PositionCurve,
    codes,
    estimate_eta,
    expected_by_curve,
    expected_by_propensity,
    position_curve,
    summed,
)
from keydistill.distillation.signals.prior import GammaPrior
from keydistill.errors import InputError

Method = Literal["auto", "propensity", "coec"]

CORRECTED_CLICKS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("keyphrase", pa.string(), nullable=False),
        pa.field("site", pa.string()),
        pa.field("impressions", pa.int64(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
        pa.field("expected_clicks", pa.float64(), nullable=False),
        pa.field("strength", pa.float64(), nullable=False),
        pa.field("positive", pa.bool_(), nullable=False),
        pa.field("negative", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class ClickCorrection:
    """Settings of the correction by which clicks become evidence.

    Attributes:
        method: Source of the expected clicks. "propensity": the attention p^-eta, scaled to the clicks of this log.
            "coec": the average click-through rate of each position in this log, which a ranking that puts relevant
            items first makes too steep. "auto": propensity where eta is given or can be estimated, otherwise coec.
        eta: Exponent of the attention; None estimates it from the log.
        min_clicks: Fewest clicks of a positive.
        min_strength: Least strength of a positive; 1 is that of the average result.
        never_clicked_is_negative: Whether a pair that should have got `min_expected` clicks and got none is a negative.
            If not, such a pair is weak evidence and no more.
        min_expected: Fewest expected clicks of such a negative.
    """

    method: Method = "auto"
    eta: float | None = None
    min_clicks: int = 1
    min_strength: float = 1.0
    never_clicked_is_negative: bool = False
    min_expected: float = 3.0

    def __post_init__(self) -> None:
        if self.eta is not None and self.method == "coec":
            raise InputError(f"eta is {self.eta:g} and the method is coec; eta belongs to propensity")
        if self.eta is not None and not 0 <= self.eta <= 5:
            raise InputError(f"eta is {self.eta:g}; expected a number from 0 to 5")
        if self.min_clicks < 1:
            raise InputError(f"min_clicks is {self.min_clicks}; a positive has at least 1 click")


@dataclass(frozen=True, slots=True)
class CorrectedClicks:
    """Clicks corrected for position.

    Attributes:
        pairs: Table by `CORRECTED_CLICKS`, one row per pair that was shown; a pair that was never shown is unknown and
            is in no row. A row that is neither `positive` nor `negative` is weak evidence.
        method: Method that was used, "propensity" or "coec".
        eta: Exponent that was used; None with "coec".
        estimate: Estimate of eta from the log; None where eta was given, is not needed, or the log does not tell.
        curve: Clicks by position.
        prior: Prior that rarely shown pairs were drawn towards.
    """

    pairs: pa.Table
    method: Method
    eta: float | None
    estimate: EtaEstimate | None
    curve: PositionCurve
    prior: GammaPrior


def correct_clicks(clicks: pa.Table, correction: ClickCorrection | None = None) -> CorrectedClicks:
    """Clicks over expected clicks, drawn towards the usual where a pair was shown rarely.

    A pair with c clicks where an average result would have had e (Zhang and Jones, WWW 2007) has the strength
    (c + a) / (e + b): the posterior mean of s in c ~ Poisson(e s), s ~ Gamma(a, b), with a and b from the log itself
    (empirical Bayes, see `GammaPrior.fit`).

    With "propensity" c / e is the maximum of the position-based model's likelihood. The other inverse-propensity
    estimate, clicks divided by the attention of their positions, has the same mean, but one chance click at position
    40 counts forty times there.

    Args:
        clicks: Table by `CLICKS`, as `load_clicks` gives it; rows of the same pair are added up.
        correction: Settings of the correction; None takes the defaults.

    Raises:
        InputError: "propensity" without eta, and the log does not tell eta; or a table without rows.
    """
    correction = correction or ClickCorrection()
    if clicks.num_rows == 0:
        raise InputError("there are no clicks to correct; expected at least one row")
    curve = position_curve(clicks)
    estimate = estimate_eta(clicks) if correction.eta is None and correction.method != "coec" else None
    eta = max(0.0, estimate.eta) if estimate is not None else correction.eta
    if correction.method == "propensity" and eta is None:
        raise InputError(
            "eta cannot be estimated: no keyphrase has clicks and several positions; give eta, or use coec"
        )
    expected = expected_by_curve(clicks, curve) if eta is None else expected_by_propensity(clicks, eta)
    pairs, prior = _pairs(clicks, expected, correction)
    return CorrectedClicks(pairs, "coec" if eta is None else "propensity", eta, estimate, curve, prior)


def _pairs(clicks: pa.Table, expected: NDArray[np.float64], correction: ClickCorrection) -> tuple[pa.Table, GammaPrior]:
    pair = codes([clicks[name] for name in ("site", "item_id", "keyphrase")])
    _, first = np.unique(pair, return_index=True)
    shown = summed(pair, clicks["impressions"].to_numpy().astype(np.float64))
    clicked = summed(pair, clicks["clicks"].to_numpy().astype(np.float64))
    expected_clicks = summed(pair, expected)
    prior = GammaPrior.fit(clicked, expected_clicks)
    strength = prior.strength(clicked, expected_clicks)
    positive = (clicked >= correction.min_clicks) & (strength >= correction.min_strength)
    negative = (clicked == 0) & (expected_clicks >= correction.min_expected) & correction.never_clicked_is_negative
    # In the order in which the pairs first appeared.
    order = np.argsort(first)
    names = clicks.select(["item_id", "keyphrase", "site"]).take(pa.array(first[order]))
    columns = {
        **{name: names[name] for name in names.schema.names},
        "impressions": shown[order].astype(np.int64),
        "clicks": clicked[order].astype(np.int64),
        "expected_clicks": expected_clicks[order],
        "strength": strength[order],
        "positive": positive[order],
        "negative": negative[order],
    }
    return pa.table(columns, schema=CORRECTED_CLICKS), prior
