"""What services found that asked a candidate beside the live collection, as rows beside those of the gate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from keydistill.ingest.gate.report import Row
from keydistill.settings import Settings

# Keyphrases of each list that are compared.
SHADOW_DEPTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSummary:
    """Sums over the items that both sides answered, so that those of several processes can be added up.

    Attributes:
        live: The live collection, which the callers' answers came from.
        items: Number of items.
        compared: Items whose lists were not both empty.
        overlap: Sum of the shares of the longer list's keyphrases that both lists hold.
        scored: Items with a keyphrase on both sides.
        live_score, score: Sums of their best scores.
        live_seconds, seconds: Times of the requests, each divided among its items.
        live_judged, judged: Keyphrases that the assistant judged.
        live_relevant, relevant: Those that it calls relevant.
    """

    live: str
    items: int = 0
    compared: int = 0
    overlap: float = 0.0
    scored: int = 0
    live_score: float = 0.0
    score: float = 0.0
    live_seconds: float = 0.0
    seconds: float = 0.0
    live_judged: int = 0
    judged: int = 0
    live_relevant: int = 0
    relevant: int = 0

    def plus(self, other: "ShadowSummary") -> "ShadowSummary":
        """Both together; those against another live collection count no more.

        >>> ShadowSummary(live="a", items=2).plus(ShadowSummary(live="a", items=3)).items
        5
        >>> ShadowSummary(live="a", items=2).plus(ShadowSummary(live="b", items=3)).items
        3
        """
        if self.live != other.live:
            return other
        names = [field.name for field in fields(self) if field.name != "live"]
        return ShadowSummary(live=self.live, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        return cls(**values)


def shadow_rows(shadow: Mapping[str, Any], settings: Settings) -> list[Row]:
    """The rows of a run's `shadow`, held to the thresholds of these settings; none where no service asked it."""
    if not shadow:
        return []
    found = ShadowSummary.from_dict(shadow)
    name = f"shadow overlap@{SHADOW_DEPTH}"
    about = f"{found.items:,} asked items, beside {found.live}"
    if found.items < settings.shadow_min_items:
        return [Row.not_measured(name, f"{about}; judged from {settings.shadow_min_items:,} on")]
    rows = [Row.not_measured(name, f"{about}; neither found a keyphrase")]
    if found.compared:
        rows = [
            Row.compared(name, found.overlap / found.compared, ">=", settings.shadow_min_overlap, note=about),
        ]
    if found.scored:
        value, live = found.score / found.scored, found.live_score / found.scored
        note = f"drifted by {value - live:+.3f}"
        rows.append(Row.compared("shadow mean top score", value, "+-", settings.gate_max_drift, live, note))
    rows.append(
        Row.reported(
            "shadow ms per item",
            1_000 * found.seconds / found.items,
            1_000 * found.live_seconds / found.items,
            "for information: the shadow takes what the callers leave of the cores",
        )
    )
    if found.judged and found.live_judged:
        value, live = found.relevant / found.judged, found.live_relevant / found.live_judged
        least = live - settings.gate_tolerance
        rows.append(
            Row.compared(f"shadow relevant@{SHADOW_DEPTH}", value, ">=", least, live, "judged by the assistant")
        )
    return rows
