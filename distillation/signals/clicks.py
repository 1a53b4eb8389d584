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
    """How clicks become evidence.

    Attributes:
        method: Where expected clicks come from. "propensity": the attention p^-eta, scaled to the clicks of this log.
            "coec": the average click-through rate of each position in this log, which a ranking that puts relevant
            items first makes too steep. "auto": propensity where eta is given or can be estimated, otherwise coec.
        eta: Exponent of the attention; None: estimated from the log.
        min_clicks: A positive has at least so many clicks.
        min_strength: A positive has at least this strength; 1 is what the average result gets.
        never_clicked_is_negative: Whether a pair that should have got `min_expected` clicks and got none is a negative.
            Off: it is weak evidence, no more.
        min_expected: See there.
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
    """What clicks say.

    Attributes:
        pairs: By `CORRECTED_CLICKS`, one row per pair that was shown; a pair that was never shown is unknown and is in
            no row. A row that is neither `positive` nor `negative` is weak evidence.
        method: "propensity" or "coec", whichever was used.
        eta: The exponent that was used; None with "coec".
        estimate: What the log says of eta; None where eta was given, is not needed, or the log does not tell.
        curve: Clicks by position.
        prior: What rarely shown pairs were drawn towards.
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
        clicks: By `CLICKS`, as `load_clicks` gives it; rows of the same pair are added up.
        correction: How clicks are corrected; None is the default.

    Raises:
        InputError: "propensity" without eta, and the log does not tell eta; or a table without rows.
    """
    how = correction or ClickCorrection()
    if clicks.num_rows == 0:
        raise InputError("there are no clicks to correct; expected at least one row")
    curve = position_curve(clicks)
    estimate = estimate_eta(clicks) if how.eta is None and how.method != "coec" else None
    eta = max(0.0, estimate.eta) if estimate is not None else how.eta
    if how.method == "propensity" and eta is None:
        raise InputError(
            "eta cannot be estimated: no keyphrase has clicks and several positions; give eta, or use coec"
        )
    expected = expected_by_curve(clicks, curve) if eta is None else expected_by_propensity(clicks, eta)
    pairs, prior = _pairs(clicks, expected, how)
    return CorrectedClicks(pairs, "coec" if eta is None else "propensity", eta, estimate, curve, prior)


def _pairs(clicks: pa.Table, expected: NDArray[np.float64], how: ClickCorrection) -> tuple[pa.Table, GammaPrior]:
    pair = codes([clicks[name] for name in ("site", "item_id", "keyphrase")])
    _, first = np.unique(pair, return_index=True)
    shown = summed(pair, clicks["impressions"].to_numpy().astype(np.float64))
    clicked = summed(pair, clicks["clicks"].to_numpy().astype(np.float64))
    would = summed(pair, expected)
    prior = GammaPrior.fit(clicked, would)
    strength = prior.strength(clicked, would)
    positive = (clicked >= how.min_clicks) & (strength >= how.min_strength)
    negative = (clicked == 0) & (would >= how.min_expected) & how.never_clicked_is_negative
    # In the order in which the pairs first appeared.
    order = np.argsort(first)
    names = clicks.select(["item_id", "keyphrase", "site"]).take(pa.array(first[order]))
    columns = {
        **{name: names[name] for name in names.schema.names},
        "impressions": shown[order].astype(np.int64),
        "clicks": clicked[order].astype(np.int64),
        "expected_clicks": would[order],
        "strength": strength[order],
        "positive": positive[order],
        "negative": negative[order],
    }
    return pa.table(columns, schema=CORRECTED_CLICKS), prior
