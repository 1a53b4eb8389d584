"""The tables of a marketplace: their columns, and how they are written."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from keydistill.simulation.items import Listings
from keydistill.simulation.judge import NAME, PROMPT_VERSION
from keydistill.simulation.keyphrases import Inventory
from keydistill.simulation.truth import Pairs
from keydistill.simulation.wording import ABSENT, ATTRIBUTES, OWN, SLOT, SLOTS, Catalogue, Values

_PAIR = [("item_id", pa.string()), ("keyphrase", pa.string()), ("site", pa.string())]
_WHAT = [(slot, pa.string()) for slot in ("product", "family", *OWN)]
_TRAITS = [(slot, pa.string()) for slot in ATTRIBUTES]

SCHEMAS: Mapping[str, pa.Schema] = {
    "items": pa.schema(
        [
            ("item_id", pa.string()),
            ("title", pa.string()),
            ("category_path", pa.string()),
            ("site", pa.string()),
            ("popularity", pa.float64()),
            *_WHAT,
            ("fit_brand", pa.string()),
            ("fit_line", pa.string()),
            ("fit_models", pa.list_(pa.string())),
            *_TRAITS,
        ]
    ),
    "inventory": pa.schema(
        [
            ("keyphrase", pa.string()),
            ("category_path", pa.list_(pa.string())),
            ("site", pa.string()),
            ("search_volume", pa.int64()),
            ("segment", pa.string()),
            ("language", pa.string()),
        ]
    ),
    "meanings": pa.schema(
        [
            ("keyphrase", pa.string()),
            ("site", pa.string()),
            *_WHAT,
            ("fit_brand", pa.string()),
            ("fit_line", pa.string()),
            ("fit_model", pa.string()),
            *_TRAITS,
        ]
    ),
    "truth": pa.schema(_PAIR),
    "search_relevance": pa.schema([*_PAIR, ("score", pa.float32()), ("passed", pa.bool_())]),
    "clicks": pa.schema([*_PAIR, ("position", pa.int32()), ("impressions", pa.int64()), ("clicks", pa.int64())]),
    "judgments": pa.schema(
        [
            *_PAIR,
            ("label", pa.bool_()),
            ("probability", pa.float32()),
            ("judge", pa.string()),
            ("prompt_version", pa.string()),
        ]
    ),
}

_ROWS = 250_000
_LANGUAGE = "en"

Columns = dict[str, pa.Array]


def write_table(path: Path, name: str, rows: int, columns: Callable[[slice], Columns]) -> None:
    """Write the table of this name in groups of rows, so that a large one never stands in memory as text."""
    schema = SCHEMAS[name]
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, _ROWS):
            part = columns(slice(start, min(rows, start + _ROWS)))
            arrays = [part[field].cast(schema.field(field).type) for field in schema.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_ROWS)


def item_columns(listings: Listings, catalogue: Catalogue) -> Callable[[slice], Columns]:
    """Columns of `items`."""
    leaves = [product.leaf for product in catalogue.products]
    models: list[list[str]] = [[] for _ in listings.ids]
    for place, model in listings.fits.tolist():
        models[place].append(catalogue.names["model"][model])

    def columns(part: slice) -> Columns:
        rows = listings.rows[part]
        return {
            **_slot_columns(rows, catalogue),
            "item_id": pa.array(listings.ids[part]),
            "title": pa.array(listings.titles[part]),
            "category_path": _named(rows[:, SLOT["product"]], leaves),
            "popularity": pa.array(listings.popularity[part]),
            "fit_models": pa.array(models[part], pa.list_(pa.string())),
        }

    return columns


def inventory_columns(inventory: Inventory, catalogue: Catalogue) -> Callable[[slice], Columns]:
    """Columns of `inventory`."""
    leaves_of: dict[tuple[int, int], list[str]] = {}

    def leaves(product: int, family: int) -> list[str]:
        if (product, family) not in leaves_of:
            leaves_of[product, family] = catalogue.leaves(product, family)
        return leaves_of[product, family]

    def columns(part: slice) -> Columns:
        rows = inventory.rows[part]
        meanings = rows[:, [SLOT["product"], SLOT["family"]]].tolist()
        categorised = inventory.categorised[part].tolist()
        return {
            "keyphrase": pa.array(inventory.texts[part]),
            "category_path": pa.array(
                [leaves(*pair) if is_known else None for pair, is_known in zip(meanings, categorised, strict=True)],
                pa.list_(pa.string()),
            ),
            "site": _named(rows[:, SLOT["site"]], catalogue.names["site"]),
            "search_volume": pa.array(inventory.volumes[part]),
            "segment": pa.array(inventory.segments[part]),
            "language": pa.array([_LANGUAGE] * len(rows)),
        }

    return columns


def meaning_columns(inventory: Inventory, catalogue: Catalogue) -> Callable[[slice], Columns]:
    """Columns of `meanings`."""

    def columns(part: slice) -> Columns:
        slots = _slot_columns(inventory.rows[part], catalogue)
        return {**slots, "keyphrase": pa.array(inventory.texts[part])}

    return columns


def pair_columns(
    pairs: Pairs,
    places: NDArray[np.int64] | None,
    listings: Listings,
    inventory: Inventory,
    catalogue: Catalogue,
    **values: NDArray[np.generic],
) -> Callable[[slice], Columns]:
    """Columns of a table about pairs: at these places, or all; and more columns, as long as the table."""
    ids, texts = pa.array(listings.ids), pa.array(inventory.texts)
    sites = listings.rows[:, SLOT["site"]]

    def columns(part: slice) -> Columns:
        chosen = part if places is None else places[part]
        items = pairs.items[chosen]
        return {
            "item_id": ids.take(pa.array(items)),
            "keyphrase": texts.take(pa.array(pairs.keyphrases[chosen])),
            "site": _named(sites[items], catalogue.names["site"]),
            "judge": pa.array([NAME] * len(items)),
            "prompt_version": pa.array([PROMPT_VERSION] * len(items)),
            **{name: pa.array(value[part]) for name, value in values.items()},
        }

    return columns


def _slot_columns(rows: Values, catalogue: Catalogue) -> Columns:
    names = {**catalogue.names}
    names |= {fit: names[fit.removeprefix("fit_")] for fit in ("fit_brand", "fit_line", "fit_model")}
    return {slot: _named(rows[:, SLOT[slot]], names[slot]) for slot in SLOTS}


def _named(numbers: Values, names: Sequence[str]) -> pa.Array:
    return pa.array([*names], pa.string()).take(pa.array(numbers, mask=numbers == ABSENT))
