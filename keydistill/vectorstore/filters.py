"""Payload filters, typed once and translated by each engine."""

from dataclasses import dataclass

Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class Equals:
    """The field has this value; of a list field, one of its elements has."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field has one of these values (all text or all integers, at least one)."""

    field: str
    values: tuple[str, ...] | tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"AnyOf on {self.field!r} has no values; leave the condition out instead")


@dataclass(frozen=True, slots=True)
class Range:
    """The number lies within these bounds; a bound that is None does not bind."""

    field: str
    gte: float | None = None
    lte: float | None = None
    gt: float | None = None
    lt: float | None = None

    def __post_init__(self) -> None:
        if self.gte is None and self.lte is None and self.gt is None and self.lt is None:
            raise ValueError(f"Range on {self.field!r} has no bound; leave the condition out instead")


Condition = Equals | AnyOf | Range


@dataclass(frozen=True, slots=True)
class Filter:
    """All of `must` hold. An empty filter lets everything through."""

    must: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.must)
