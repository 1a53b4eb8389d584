"""The layout of a student's folder: that of a symmetric one, and that of one with a static keyphrase side.

A student is symmetric (one transformer reads items and keyphrases) or asymmetric: a `Router` of sentence-transformers
whose route `document` is a transformer, for items, and whose route `query` is a table of token vectors, for keyphrases.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.errors import StudentError

# The names that `SentenceTransformer.encode_document` and `encode_query` know.
ITEM_ROUTE = "document"
KEYPHRASE_ROUTE = "query"
# Keys under which the modules of sentence-transformers keep the length of their output, newest first.
_DIMENSION_KEYS = ("out_features", "embedding_dimension", "word_embedding_dimension")


@dataclass(frozen=True, slots=True)
class StudentLayout:
    """The folders of a student's modules.

    Attributes:
        items: Folders of the modules that read items, in order; the transformer is the first one.
        item_types: Classes of these modules, as the library notes them.
        keyphrases: Folder of the table that keyphrases are read by; None where the same modules read them.
    """

    items: tuple[Path, ...]
    item_types: tuple[str, ...]
    keyphrases: Path | None = None

    @classmethod
    def of(cls, folder: Path) -> StudentLayout:
        """Read the layout of the student in a folder.

        Raises:
            StudentError: A file is missing or damaged, or it routes texts otherwise.
        """
        modules = read_json(folder / "modules.json")
        paths = tuple(folder / module["path"] for module in modules)
        module_types = tuple(str(module.get("type", "")) for module in modules)
        if not modules or not module_types[0].endswith(".Router"):
            return cls(paths, module_types)
        router = read_json(paths[0] / "router_config.json")
        routes, types = router.get("structure", {}), router.get("types", {})
        keyphrases = routes.get(KEYPHRASE_ROUTE, [])
        fits = set(routes) == {ITEM_ROUTE, KEYPHRASE_ROUTE} and len(keyphrases) == 1
        if not fits or not str(types.get(keyphrases[0], "")).endswith(".StaticEmbedding"):
            structure = ", ".join(f"{name}: {' '.join(parts)}" for name, parts in routes.items())
            raise StudentError(
                f"{folder} has a router with {structure}; expected a transformer on the route {ITEM_ROUTE!r} and one "
                f"StaticEmbedding on {KEYPHRASE_ROUTE!r}"
            )
        return cls(
            items=(*(paths[0] / name for name in routes[ITEM_ROUTE]), *paths[1:]),
            item_types=(*(str(types.get(name, "")) for name in routes[ITEM_ROUTE]), *module_types[1:]),
            keyphrases=paths[0] / keyphrases[0],
        )

    def dimension(self) -> int:
        """The length of the vectors.

        Raises:
            StudentError: No module's configuration says it.
        """
        for module in reversed(self.items[1:]):
            config = module / "config.json"
            content = read_json(config) if config.is_file() else {}
            for key in _DIMENSION_KEYS:
                if isinstance(content.get(key), int):
                    return int(content[key])
        raise StudentError(f"{self.items[0]} does not tell the dimension of its vectors; it needs a pooling module")

    def longest_input(self) -> int:
        """The number of tokens after which the transformer cuts a text."""
        for name, key in (
            ("sentence_bert_config.json", "max_seq_length"),
            ("tokenizer_config.json", "model_max_length"),
        ):
            file = self.items[0] / name
            length = read_json(file).get(key) if file.is_file() else None
            if isinstance(length, int) and length < 1_000_000:
                return length
        return 512


def read_json(file: Path) -> Any:
    """The content of a JSON file of a student.

    Raises:
        StudentError: It cannot be read.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudentError(f"{file} cannot be read ({error}); retrain or copy the student again") from None
