"""The card of an embedded collection: its catalogue entry once more, in its own folder.

A folder that is moved, shipped or left over from a lost catalogue still says what it is. The card is written before the
catalogue, which is what counts as long as it is there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keydistill.files import NewerFormatError, replace_json, stamped, without_stamp
from keydistill.vectorstore.edge.catalog import CollectionEntry, parse_entry

# Within a collection's folder; readers' views and copies leave it out.
CARD_FOLDER = "keydistill"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Card:
    """What a folder says of itself.

    Attributes:
        entry: The collection.
        named_at: Alias that named it to when it last came to name it, ISO 8601.
    """

    entry: CollectionEntry
    named_at: Mapping[str, str] = field(default_factory=dict)


def write_card(folder: Path, card: Card) -> None:
    """Replace the card of the collection in `folder`, which is there."""
    replace_json(_file(folder), stamped(_FORMAT, {**card.entry.as_dict(), "named_at": dict(card.named_at)}))


def read_card(folder: Path) -> Card | None:
    """The card in a folder; None where there is none that can be read.

    Raises:
        NewerFormatError: A newer keydistill wrote it.
    """
    try:
        values = without_stamp(json.loads(_file(folder).read_text(encoding="utf-8")), _FORMAT)
        return Card(parse_entry(values), dict(values["named_at"]))
    except NewerFormatError as error:
        raise NewerFormatError(f"{_file(folder)} {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _file(folder: Path) -> Path:
    return folder / CARD_FOLDER / "collection.json"
