"""One or two examples of each command, which its help ends with."""

from collections.abc import Mapping

import click

_RUN = "20261125-134043-a9d55d"

# Command, as it is typed after `keydistill`, to its examples. A test gives each of them to the parser.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": ("keydistill demo", "keydistill --alias shoes reindex keyphrases.csv"),
    "demo": ("keydistill demo", "keydistill --home demo-data demo --items 500"),
    "simulate": ("keydistill simulate market --items 20000 --keyphrases 100000 --seed 7",),
    "signals": (
        "keydistill signals check market",
        "keydistill signals import esci esci-data --split train --locale us --out esci",
    ),
    "signals check": (
        "keydistill signals check market",
        "keydistill signals check --items items.csv --clicks clicks.csv --judgments judgments.csv",
    ),
    "signals import": ("keydistill signals import wands WANDS --out wands --dry-run",),
    "signals import beir": ("keydistill signals import beir shop --split test --out beir",),
    "signals import esci": ("keydistill signals import esci esci-data --split train --locale us --out esci",),
    "signals import qrels": (
        "keydistill signals import qrels qrels.txt --queries shop/queries.jsonl --corpus shop/corpus.jsonl --out qrels",
    ),
    "signals import ubi": (
        "keydistill signals import ubi ubi_queries.jsonl ubi_events.jsonl --items items.csv --out ubi",
    ),
    "signals import wands": ("keydistill signals import wands WANDS --out wands",),
    "judge": (
        "keydistill judge pairs.csv --endpoint http://localhost:8000/v1 --model Qwen/Qwen3-8B --dry-run",
        "keydistill judge pairs.csv --labels esci.csv --out judgments.parquet",
    ),
    "train": (
        "keydistill train assistant judgments.parquet --items items.parquet",
        "keydistill train student --items items.parquet --clicks clicks.parquet --scores scores.parquet",
    ),
    "train assistant": (
        "keydistill train assistant judgments.parquet --items items.parquet --dry-run",
        "keydistill train assistant judgments.parquet --items items.parquet --size bert-mini",
    ),
    "train student": (
        "keydistill train student --items items.parquet --clicks clicks.parquet --scores scores.parquet",
        "keydistill train student --items items.parquet --judgments judgments.parquet --shape three --out student",
    ),
    "score": ("keydistill score pairs.parquet --items items.parquet --assistant promoted --out scores.parquet",),
    "retrain": (
        "keydistill retrain market --simulation market --judged-pairs 8000 --dry-run",
        "keydistill retrain signals --endpoint http://localhost:8000/v1 --model Qwen/Qwen3-8B --promote",
    ),
    "inventory": ("keydistill inventory check keyphrases.csv",),
    "inventory check": ("keydistill inventory check keyphrases.csv",),
    "reindex": (
        "keydistill reindex keyphrases.csv --student promoted",
        f"keydistill reindex --resume {_RUN}",
    ),
    "sync": ("keydistill sync today.csv --dry-run", "keydistill sync today.csv"),
    "tune": ("keydistill tune --items items.csv --dry-run", "keydistill tune --items items.csv"),
    "search": (
        'keydistill search "Apple iPhone 13 clear case" --category "Cell Phones > Cases" --min-volume 100',
        'keydistill search "red sneakers men" --merge-variants --explain',
    ),
    "recommend": (
        "keydistill recommend items.parquet --out lists.parquet --match-category leaf",
        "keydistill recommend items.csv --out lists.csv --exclude bids.csv --fallback 5 --match-category leaf",
    ),
    "serve": ("keydistill serve", "keydistill serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem"),
    "serve keys": ("keydistill serve keys new shop", "keydistill serve keys list"),
    "serve keys list": ("keydistill serve keys list",),
    "serve keys new": ("keydistill serve keys new shop",),
    "serve keys remove": ("keydistill serve keys remove shop",),
    "serve sample": ("keydistill serve sample --out items.jsonl", "keydistill serve sample --forget"),
    "runs": ("keydistill runs list", f"keydistill runs show {_RUN}"),
    "runs cancel": (f"keydistill runs cancel {_RUN} --dry-run", f"keydistill runs cancel {_RUN}"),
    "runs list": ("keydistill runs list", "keydistill runs list --json"),
    "runs pause": (f"keydistill runs pause {_RUN}",),
    "runs prune": ("keydistill runs prune --dry-run", "keydistill runs prune"),
    "runs resume": (f"keydistill runs resume {_RUN}",),
    "runs show": (f"keydistill runs show {_RUN}", "keydistill runs show 20261125-13"),
    "runs watch": (f"keydistill runs watch {_RUN}",),
    "schedule": ("keydistill schedule list", "keydistill schedule pause weekly-retrain"),
    "schedule list": ("keydistill schedule list",),
    "schedule next": ("keydistill schedule next --count 10",),
    "schedule pause": ("keydistill schedule pause weekly-retrain",),
    "schedule resume": ("keydistill schedule resume weekly-retrain",),
    "gate": (f"keydistill gate {_RUN}",),
    "collections": ("keydistill collections list", 'keydistill collections rollback --why "worse on phones"'),
    "collections adopt": ("keydistill collections adopt --dry-run", "keydistill collections adopt"),
    "collections history": ("keydistill collections history",),
    "collections hold": ('keydistill collections hold keyphrases --why "audit until Friday"',),
    "collections list": ("keydistill collections list",),
    "collections prune": ("keydistill collections prune --keep 1 --dry-run", "keydistill collections prune --keep 1"),
    "collections release": ("keydistill collections release keyphrases",),
    "collections rollback": (
        'keydistill collections rollback --why "worse on phones"',
        f'keydistill collections rollback --to keyphrases-{_RUN} --why "worse on phones"',
    ),
    "collections swap": (f'keydistill collections swap {_RUN} --why "checked by hand"',),
    "status": ("keydistill status", "keydistill status --node embed@worker-1"),
    "bench": ("keydistill bench", "keydistill bench --inventory keyphrases.csv"),
    "plan": (
        "keydistill plan --keyphrases 1000000 --dimension 384",
        "keydistill plan --keyphrases 100000000 --engine server --workers 16 --replicas 2 --node-memory 64",
    ),
    "doctor": ("keydistill doctor", "keydistill doctor --fix"),
    "backup": (
        "keydistill backup /mnt/backups/keydistill --verify --keep 14",
        "keydistill backup s3://bucket/keydistill",
    ),
    "restore": (
        "keydistill restore /mnt/backups/keydistill --dry-run",
        "keydistill --home /srv/keydistill restore s3://bucket/keydistill",
    ),
    "evaluate": (
        "keydistill evaluate promoted --items items.parquet --inventory inventory.parquet --labels judgments.parquet",
        "keydistill evaluate student/20261201 --against promoted --items items.parquet "
        "--inventory inventory.parquet --assistant promoted --report report",
    ),
    "models": ("keydistill models list", "keydistill models promote student/20261201 --dry-run"),
    "models compare": ("keydistill models compare student/20261123 student/20261201",),
    "models list": ("keydistill models list --kind student",),
    "models promote": (
        "keydistill models promote student/20261201 --dry-run",
        'keydistill models promote student/20261201 --reason "recall@10 of 0.78"',
    ),
    "models show": ("keydistill models show student/promoted",),
    "models verify": ("keydistill models verify", "keydistill models verify student/20261201"),
    "exporter": ("keydistill exporter --host 0.0.0.0 --port 9465", "keydistill exporter --once"),
    "settings": ("keydistill settings", "keydistill settings --json"),
    "completion": ("keydistill completion bash", "keydistill completion fish"),
}


def epilog_of(command: str) -> str | None:
    """The end of a command's help; None for a command that has no examples."""
    if command not in EXAMPLES:
        return None
    # After \b click leaves the lines as they are (https://click.palletsprojects.com/en/stable/documentation/).
    return "\n  ".join(("\b\nExamples:", *EXAMPLES[command]))


def with_examples(command: click.Command, path: str) -> click.Command:
    """The command, whose help and that of all below it ends with their examples."""
    command.epilog = epilog_of(path)
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            with_examples(child, f"{path} {name}")
    return command
