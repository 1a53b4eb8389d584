"""UBI, User Behavior Insights: logs of queries and events as OpenSearch and Elasticsearch keep them.

Schema: https://github.com/o19s/ubi (1.0 to 1.3). Queries and events may be in any files, also in the same one: a row
with an `action_name` is an event. In which forms exports hold them is known to
`keydistill.distillation.signals.importers.ubi_documents`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.distillation.signals.importers.ubi_documents import COLUMNS, MULTILINE
from keydistill.distillation.signals.importers.ubi_log import LogRows, Ordinals, UbiOptions
from keydistill.distillation.signals.importers.ubi_queries import CLICKS_SQL, PREPARE, VOLUMES_SQL, reject_unusable
from keydistill.distillation.signals.importing import (
    ImportSummary,
    ImportTarget,
    SiteKeyphrase,
    Tables,
    checked_site,
    inventory_table,
    run_import,
)
from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.schemas import CLICKS, items_schema
from keydistill.distillation.signals.validation import ITEM_CELLS
from keydistill.errors import InputError

_WHERE = [("source", pa.string()), ("row", pa.int64()), ("line", pa.int64())]
_QUERIES = pa.schema([("query_id", pa.string()), ("keyphrase", pa.string()), ("logged", pa.bool_()), *_WHERE])
_LISTED = pa.schema(
    [
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("place", pa.int32()),
        ("logged_at", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("document", pa.int32()),
    ]
)
_EVENTS = pa.schema(
    [
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("place", pa.int32()),
        ("clicked", pa.bool_()),
        ("keyphrase", pa.string()),
        *_WHERE,
    ]
)
_SALES = pa.schema([("query_id", pa.string()), ("item_id", pa.string())])


def import_ubi(
    files: Sequence[Path], target: ImportTarget, *, items: Sequence[Path] = (), options: UbiOptions | None = None
) -> ImportSummary:
    """Import query and event logs as clicks: one row per keyphrase, item and position.

    A result of a query counts as shown once and as clicked once at the most. It was shown if there is an impression
    event, or a click. In a log without any impression event, everything that a query's lists of results name was
    shown. Its position is the impression's ordinal, otherwise its place in the lists, otherwise the click's ordinal.
    Where the log has sales, a result that was shown counts as sold once at the most.

    Args:
        files: CSV, JSONL or Parquet with rows of `ubi_queries` and `ubi_events`.
        target: Target of the import: where the signals folder goes.
        items: Files of items, see `read_items`; without any, the items are those whose events give a description or
            name.
        options: Options that say how the log is read.

    Raises:
        InputError: A file cannot be read, no result was shown or none clicked, no item has a title, the log counts
            positions from 0 and no option says so, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected; an event whose query is in no row, or whose query's id stands
            for several texts, is a reject.
    """
    read_options = options or UbiOptions()
    site = checked_site(read_options.site)

    if target.fields and not items:
        raise InputError("a log has no fields of items; give the file of items that has them with --items")

    def build(reader: ImportReader) -> Tables:
        titles = _read_log(files, reader, read_options)
        with duckdb.connect(":memory:", config={"temp_directory": str(reader.work / "spill")}) as database:
            database.execute("SET enable_progress_bar = false")
            for name in ("queries", "listed", "events", "sales"):
                file = str(reader.work / f"{name}.parquet").replace("'", "''")
                database.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{file}')")
            database.execute(PREPARE)
            reject_unusable(database, reader)
            clicks = database.sql(CLICKS_SQL).to_arrow_table()
            volumes = database.sql(VOLUMES_SQL).fetchall()
        clicks = clicks.append_column("site", pa.array([site] * clicks.num_rows, pa.string()))
        counts: dict[SiteKeyphrase, int] = {(site, keyphrase): count for keyphrase, count in volumes}
        cells = [list(titles), list(titles.values()), [None] * len(titles), [site] * len(titles)]
        schema = items_schema(reader.fields if items else ())
        rows = (pa.table(columns, schema=schema) for file in items for columns in reader.item_rows(file, ITEM_CELLS))
        return {
            "items": merged("items", rows) if items else pa.table(cells, schema=schema),
            "clicks": merged("clicks", [clicks.select(CLICKS.names).cast(CLICKS)]),
            "inventory": inventory_table(counts, {}, counts),
        }

    manifest_options = {
        "click_actions": list(read_options.click_actions),
        "impression_actions": list(read_options.impression_actions),
        "sale_actions": list(read_options.sale_actions),
        "first_position": 1 if read_options.first_position is None else read_options.first_position,
        "first_positions": dict(read_options.first_positions),
        "site": read_options.site,
        "items": [str(file) for file in items],
    }
    return run_import("ubi", target, manifest_options, build)


def _read_log(files: Sequence[Path], reader: ImportReader, options: UbiOptions) -> dict[str, str]:
    """Write queries, their lists and events into the work folder; return the titles that events give."""
    titles: dict[str, str] = {}
    ordinals = Ordinals()
    with (
        pq.ParquetWriter(reader.work / "queries.parquet", _QUERIES) as queries,
        pq.ParquetWriter(reader.work / "listed.parquet", _LISTED) as listed,
        pq.ParquetWriter(reader.work / "events.parquet", _EVENTS) as events,
        pq.ParquetWriter(reader.work / "sales.parquet", _SALES) as sales,
    ):
        for file in files:
            for batch in reader.batches(file, COLUMNS, multiline=MULTILINE):
                rows = LogRows(batch, str(file), reader, options, ordinals)
                rows.read()
                queries.write_table(pa.Table.from_pylist(rows.queries, schema=_QUERIES))
                listed.write_table(pa.Table.from_pylist(rows.listed, schema=_LISTED))
                events.write_table(pa.Table.from_pylist(rows.events, schema=_EVENTS))
                sales.write_table(pa.Table.from_pylist(rows.sales, schema=_SALES))
                for item, title in rows.titles.items():
                    titles.setdefault(item, title)
    ordinals.check(options)
    return titles
