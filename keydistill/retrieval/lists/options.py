"""The options of a list of keyphrases. With none of them set it is the nearest keyphrases, nearest first."""

from dataclasses import dataclass

# Without `candidates`, a list is chosen from this many times its length.
_CANDIDATES_PER_PLACE = 4


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What makes a list of the nearest keyphrases one that an advertiser can use; all of it is off by default.

    The steps are taken in this order: least score, fallback, excluded keyphrases, variants, reranking, search volume,
    diversity. Keyphrases of the category asked for stay before those of a fallback.

    Attributes:
        min_score: Least cosine similarity of a keyphrase.
        fallback: Where fewer keyphrases than this are left, the category above the one of the filter is asked too, and
            the one above that. 0 is off.
        merge_variants: Whether keyphrases that differ in word order, plural, spacing, hyphens or accents are one; the
            one with most searches stands for all. Excluded keyphrases then exclude their variants.
        rerank: Number of nearest keyphrases that the assistant puts in the order of its probabilities; the others are
            left out. 0 is off.
        volume_weight: What ten times as many searches are worth: this times log10(1 + search volume) is added to the
            score, or to the assistant's probability.
        diversity: Weight of what is new against what is relevant, from 0 (off) to 1: maximal marginal relevance with
            lambda = 1 - diversity (Carbonell and Goldstein, SIGIR 1998).
        explain: Whether each keyphrase says why it is there.
        candidates: Number of nearest keyphrases that a list is chosen from; None takes four times its length.
    """

    min_score: float | None = None
    fallback: int = 0
    merge_variants: bool = False
    rerank: int = 0
    volume_weight: float = 0.0
    diversity: float = 0.0
    explain: bool = False
    candidates: int | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, expected a cosine similarity from -1 to 1")
        for name in ("fallback", "rerank"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number of keyphrases, or 0 for off")
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity is {self.diversity}, expected a weight from 0 to 1")
        if not 0 <= self.volume_weight <= 10:
            raise ValueError(f"volume_weight is {self.volume_weight}, expected a weight from 0 to 10")
        if self.candidates is not None and self.candidates < 1:
            raise ValueError(f"candidates is {self.candidates}, expected at least 1")

    @property
    def chooses(self) -> bool:
        """Whether a list is chosen from more keyphrases than it has places."""
        return bool(self.merge_variants or self.rerank or self.volume_weight or self.diversity)

    def candidates_of(self, limit: int, excluded: int) -> int:
        """Number of nearest keyphrases to ask for.

        Args:
            limit: Length of the list.
            excluded: Number of keyphrases that must not be in it.

        Raises:
            ValueError: Fewer are to be reranked, or to be chosen from, than the list has places.
        """
        for name, count in (("rerank", self.rerank), ("candidates", self.candidates)):
            if count and count < limit:
                raise ValueError(f"{name} is {count}, fewer than the {limit} keyphrases asked for; raise it to {limit}")
        chosen_from = limit
        if self.candidates is not None:
            chosen_from = self.candidates
        elif self.chooses:
            chosen_from = max(_CANDIDATES_PER_PLACE * limit, self.rerank)
        # In powers of two, so that items of one batch are asked together, and each as if it were asked alone.
        return chosen_from + (1 << (excluded - 1).bit_length() if excluded else 0)
