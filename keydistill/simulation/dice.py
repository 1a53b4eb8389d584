"""Fast single draws for code that words one text at a time."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK = 1 << 16


class Dice:
    """Draws from a numpy generator in blocks: one call of `Generator.random` per draw would cost ten times more."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def roll(self) -> float:
        """A number from [0, 1)."""
        if not self._block:
            self._block = self._rng.random(_BLOCK).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.roll() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.roll() * len(options))]

    def below(self, bound: int) -> int:
        """A whole number from 0 up to, but not, `bound`."""
        return int(self.roll() * bound)

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """The same things in a random order."""
        mixed = list(things)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
