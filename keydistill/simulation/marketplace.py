"""Makes a marketplace and writes it: every table, and a manifest that says how it was made."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from keydistill.files import FolderKind, file_sha256, whole_folder
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.simulation.clicks import make_clicks
from keydistill.simulation.items import make_listings
from keydistill.simulation.judge import judge_pool
from keydistill.simulation.keyphrases import make_inventory
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.search_filter import Market, make_pool, score_pool
from keydistill.simulation.tables import inventory_columns, item_columns, meaning_columns, pair_columns, write_table
from keydistill.simulation.truth import matching_pairs
from keydistill.simulation.wording import compile_catalogue

# One stream of chance per stage, so that a knob of one stage leaves the tables before it as they are.
_STAGES = ("items", "keyphrases", "pool", "search", "clicks", "judge")

FOLDER = FolderKind("marketplace", "simulation.json")


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a marketplace that was written.

    Attributes:
        out: Folder of the marketplace.
        settings: Settings that it was made with.
        rows: Tables, each with its number of rows.
        sha256: Tables, each with the hash of its file.
        facts: Numbers to judge the marketplace by, such as the median of relevant keyphrases per item.
    """

    out: Path
    settings: MarketplaceSettings
    rows: dict[str, int]
    sha256: dict[str, str]
    facts: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The manifest: everything but the folder."""
        return {
            "package": "keydistill",
            "version": _version(),
            "settings": asdict(self.settings),
            "rows": self.rows,
            "sha256": self.sha256,
            "facts": self.facts,
        }


def simulate(
    out: Path, settings: MarketplaceSettings, progress: Progress = NO_PROGRESS, *, force: bool = False
) -> Summary:
    """Write a marketplace with known truth into the folder `out`.

    Args:
        out: Folder that does not exist or is empty. It appears complete or not at all.
        settings: Size, wording and biases of the marketplace. The same settings make the same bytes.
        progress: Told of each stage as it begins.
        force: Replace `out` if it holds an earlier marketplace.

    Raises:
        InputError: `out` holds something else, or the catalogue cannot make so many keyphrases.
        SettingsError: There are not so many leaf categories.
    """
    FOLDER.check_target(out, force)
    seeds = np.random.SeedSequence(settings.seed).spawn(len(_STAGES))
    chance = {stage: np.random.default_rng(seed) for stage, seed in zip(_STAGES, seeds, strict=True)}
    catalogue = compile_catalogue(settings.sites, settings.leaf_categories)

    progress.start("items", None, "")
    listings = make_listings(catalogue, settings, chance["items"])
    progress.start("keyphrases", None, "")
    inventory = make_inventory(catalogue, settings, chance["keyphrases"])
    progress.start("truth", None, "")
    truth = matching_pairs(listings.rows, listings.fits, inventory.rows)
    progress.start("search filter", None, "")
    market = Market(
        catalogue=catalogue,
        titles=listings.titles,
        items=listings.rows,
        fits=listings.fits,
        popularity=listings.popularity,
        queries=inventory.queries,
        keyphrases=inventory.rows,
        volumes=inventory.volumes,
        truth=truth,
    )
    pool = make_pool(market, settings, chance["pool"])
    scores = score_pool(market, pool, settings, chance["search"])
    passed = scores >= settings.search_threshold
    progress.start("clicks", None, "")
    log = make_clicks(market, pool, scores, settings, chance["clicks"])
    progress.start("judgments", None, "")
    judged = judge_pool(pool, len(listings.ids), settings, chance["judge"])

    progress.start("writing", None, "")
    sides = listings, inventory, catalogue
    tables = {
        "items": (len(listings.ids), item_columns(listings, catalogue)),
        "inventory": (len(inventory.texts), inventory_columns(inventory, catalogue)),
        "meanings": (len(inventory.texts), meaning_columns(inventory, catalogue)),
        "truth": (len(truth), pair_columns(truth, None, *sides)),
        "search_relevance": (
            len(pool.pairs),
            pair_columns(pool.pairs, None, *sides, score=scores, passed=passed),
        ),
        "clicks": (
            len(log.places),
            pair_columns(
                pool.pairs,
                log.places,
                *sides,
                position=log.positions,
                impressions=log.impressions,
                clicks=log.clicks,
            ),
        ),
        "judgments": (
            len(judged.places),
            pair_columns(pool.pairs, judged.places, *sides, label=judged.labels, probability=judged.probabilities),
        ),
    }
    per_item = np.bincount(truth.items, minlength=len(listings.ids))
    facts = {
        "relevant_keyphrases_per_item_median": float(np.median(per_item)),
        "items_without_relevant_keyphrase": int((per_item == 0).sum()),
        "relevant_rejected_by_search_share": _share(~passed, pool.relevant),
        "irrelevant_passed_by_search_share": _share(passed, ~pool.relevant),
        "clicks": int(log.clicks.sum()),
        "clicks_on_irrelevant": int(log.clicks[~pool.relevant[log.places]].sum()),
    }
    with whole_folder(out, FOLDER, force=force) as folder:
        for name, (rows, columns) in tables.items():
            write_table(folder / f"{name}.parquet", name, rows, columns)
        summary = Summary(
            out=out,
            settings=settings,
            rows={name: rows for name, (rows, _) in tables.items()},
            sha256={name: file_sha256(folder / f"{name}.parquet") for name in tables},
            facts=facts,
        )
        # Last: a folder without its manifest is not complete.
        text = json.dumps(summary.as_json(), indent=2, ensure_ascii=False)
        (folder / FOLDER.manifest).write_text(text + "\n", encoding="utf-8")
    return summary


def _share(what: np.ndarray[Any, np.dtype[np.bool_]], among: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    return round(float(what[among].mean()), 4) if among.any() else 0.0


def _version() -> str:
    try:
        return version("keydistill")
    except PackageNotFoundError:
        return "unknown"
