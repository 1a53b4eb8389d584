"""What a retrain learns from, and what is held out for its evaluation: a share of the items and of the keyphrases.

The hash of its id or text says whether one is held out. So it is in the next retrain too, and the present student,
which the new one is compared with, has not learned from it either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.retrain.judged import by_people
from keydistill.distillation.retrain.recipe import RetrainInputs

_TABLES = ("clicks", "search_relevance", "judgments")


@dataclass(frozen=True, slots=True)
class Division:
    """The inputs of a retrain, divided.

    Attributes:
        learned: Inputs without anything of what is held out: pairs are mined, judged and learned from these alone.
        items: The held-out items; all items where nothing is held out.
        judgments: Judgments of these items by people, those that name no prompt; None where there are none.
        held_out_items: Number of held-out items.
        held_out_keyphrases: Number of held-out keyphrases of the inventory.
    """

    learned: RetrainInputs
    items: pa.Table
    judgments: pa.Table | None
    held_out_items: int
    held_out_keyphrases: int

    @classmethod
    def of(cls, inputs: RetrainInputs, share: float) -> Self:
        """The inputs divided; with a share of 0, nothing is held out."""
        tables = {name: table for name in _TABLES if (table := getattr(inputs, name)) is not None}
        items = held_out_names([inputs.items["item_id"]], share)
        named = [inputs.inventory["keyphrase"], *(table["keyphrase"] for table in tables.values())]
        keyphrases = held_out_names(named, share)
        is_held_out = pc.is_in(inputs.items["item_id"], value_set=items)
        in_inventory = pc.is_in(inputs.inventory["keyphrase"], value_set=keyphrases)
        pairs: dict[str, Any] = {name: _without(table, items, keyphrases) for name, table in tables.items()}
        learned = replace(
            inputs,
            items=inputs.items.filter(pc.invert(is_held_out)),
            inventory=inputs.inventory.filter(pc.invert(in_inventory)),
            **pairs,
        )
        if not len(learned.inventory):
            # All keyphrases of a tiny inventory; others are in the signals alone.
            learned = replace(learned, inventory=inputs.inventory)
        evaluated = inputs.items.filter(is_held_out) if len(items) else inputs.items
        given = by_people(inputs.judgments)
        if given is not None:
            given = given.filter(pc.is_in(given["item_id"], value_set=_ids(evaluated)))
        return cls(
            learned,
            evaluated,
            given if given is not None and len(given) else None,
            len(items),
            pc.sum(in_inventory).as_py() or 0,
        )


def held_out_names(columns: Sequence[pa.ChunkedArray], share: float) -> pa.Array:
    """The ids or texts that are held out: those with a small hash; at least one, and never all of them.

    >>> names = pa.chunked_array([[f"item {number}" for number in range(1000)]])
    >>> held_out = held_out_names([names], 0.05)
    >>> len(held_out), held_out == held_out_names([names], 0.05), len(held_out_names([names], 0))
    (53, True, 0)
    """
    chunks = [chunk.cast(pa.string()) for column in columns for chunk in column.chunks]
    unique = pc.unique(pa.chunked_array(chunks, pa.string()))
    if share <= 0 or len(unique) < 2:
        return pa.array([], pa.string())
    hashes = {name: _hash(name) for name in unique.drop_null().to_pylist()}
    chosen = [name for name, number in hashes.items() if number < share]
    if len(chosen) == len(hashes):
        return pa.array([], pa.string())
    return pa.array(chosen or [min(hashes, key=lambda name: hashes[name])], pa.string())


def _hash(name: str) -> float:
    """A number from 0 to 1 that follows from a name alone."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"held out").digest()
    return int.from_bytes(digest, "big") / 2**64


def _without(table: pa.Table, items: pa.Array, keyphrases: pa.Array) -> pa.Table | None:
    """The pairs of a table that have nothing of what is held out; None where there are none."""
    is_held_out = pc.or_(
        pc.is_in(table["item_id"], value_set=items), pc.is_in(table["keyphrase"], value_set=keyphrases)
    )
    kept = table.filter(pc.invert(is_held_out))
    return kept if len(kept) else None


def _ids(items: pa.Table) -> pa.Array:
    return items["item_id"].combine_chunks()
