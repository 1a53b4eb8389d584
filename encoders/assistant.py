"""The assistant: a cross-encoder that reads item and keyphrase together and says how likely the pair is relevant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.batching import equal_length_batches
from keydistill.encoders.item_text import ItemText, item_text_of, read_model_file
from keydistill.encoders.models import SAFETENSORS, content_digest, find_model
from keydistill.encoders.pair_tokens import PairTokenizer
from keydistill.errors import AssistantError
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    # Importing these costs seconds; `Assistant.load` does it, and nobody else needs to.
    import torch
    from sentence_transformers import CrossEncoder

Scores = NDArray[np.float32]

# Tokens per forward pass, by device.
_BATCH_TOKENS = {"cpu": 1_024, "cuda": 65_536}


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of logits: probability = sigmoid(logit / temperature + bias) (arXiv 1706.04599, section 4)."""

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would turn the order of scores around.

        Raises:
            AssistantError: The temperature is not above 0, or one of them is not finite.
        """
        if not (np.isfinite(self.temperature) and np.isfinite(self.bias) and self.temperature > 0):
            raise AssistantError(
                f"calibration with temperature {self.temperature} and bias {self.bias}; expected finite numbers and "
                "a temperature above 0; train the assistant again"
            )

    def probabilities(self, logits: NDArray[np.floating]) -> Scores:
        """Probabilities of logits, of the same shape.

        >>> Calibration(temperature=2.0).probabilities(np.array([0.0, 2.0])).round(3).tolist()
        [0.5, 0.7310000061988831]
        """
        scaled = np.asarray(logits, dtype=np.float64) / self.temperature + self.bias
        # exp of a large number overflows; of a negative one it never does.
        small = np.exp(-np.abs(scaled))
        return np.where(scaled >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


class Assistant:
    """A loaded version of the assistant.

    Attributes:
        source: The folder that it was loaded from.
        version: Name and a hash over weights, tokenizer, configuration and calibration. Scores of two assistants may be
            compared only if their versions are equal.
        item_text: Template of the text that stands for an item.
        calibration: Calibration by which its logits become probabilities.
        bf16: Whether it computes in bfloat16.
    """

    def __init__(
        self,
        source: str,
        version: str,
        model: CrossEncoder,
        *,
        item_text: ItemText | None = None,
        calibration: Calibration | None = None,
        bf16: bool = False,
    ) -> None:
        self.source = source
        self.version = version
        self.item_text = item_text or ItemText()
        self.calibration = calibration or Calibration()
        self._model = model
        self.bf16 = bf16
        self._tokenizer = PairTokenizer(model.tokenizer, model.max_seq_length or 512)
        # RoBERTa and others know no segments.
        self._segments = "token_type_ids" in model.tokenizer.model_input_names

    @classmethod
    def load(
        cls, source: str, *, threads: int | None = None, device: str | None = None, bf16: bool | None = None
    ) -> Assistant:
        """Load an assistant.

        Args:
            source: A folder that `keydistill train assistant` or `CrossEncoder.save_pretrained` wrote, or a model name.
            threads: Threads for arithmetic on CPU; None leaves it to torch.
            device: "cpu" or "cuda"; None takes a GPU where there is one.
            bf16: Whether to compute in bfloat16, which changes a probability in its third digit; None does so on a GPU
                only.

        Raises:
            AssistantError: It cannot be found or loaded, or is no cross-encoder with one output.
        """
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = _folder_of(source)
        _check_architecture(folder)
        if threads is not None:
            torch.set_num_threads(threads)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            # By path, with everything on disk, so that the hub is not asked.
            model = CrossEncoder(str(folder), device=device, local_files_only=True, model_kwargs=SAFETENSORS)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise AssistantError(
                f"{folder} cannot be loaded as an assistant: {reason}; train or copy it again"
            ) from error
        if model.num_labels != 1:
            raise AssistantError(f"{folder} has {model.num_labels} outputs; expected a cross-encoder with one")
        return cls(
            source=str(folder) if Path(source).expanduser().is_dir() else source,
            version=assistant_version(source, folder),
            model=model,
            item_text=item_text_of(folder),
            calibration=_calibration_of(folder),
            bf16=device.startswith("cuda") if bf16 is None else bf16,
        )

    def __repr__(self) -> str:
        return f"Assistant({self.version!r})"

    def score(
        self,
        titles: Sequence[str],
        keyphrases: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Scores:
        """The probability that each pair is relevant, as the judge whom the assistant learned from would say.

        Args:
            titles: n titles of items.
            keyphrases: n keyphrases; the i-th belongs to the i-th title.
            categories: The category of each item as a path ("A > B > C"), or None.
            progress: Advanced by the number of pairs done after each batch.

        Returns:
            Calibrated probabilities, shape (n,).
        """
        return self.calibration.probabilities(self.logits(titles, keyphrases, categories, progress))

    def logits(
        self,
        titles: Sequence[str],
        keyphrases: Sequence[str],
        categories: Sequence[str | None] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Scores:
        """The model's outputs before calibration, shape (n,); arguments as in `score`."""
        import torch

        pairs = self._tokenizer.tokenize(self.item_text.render_all(titles, categories), keyphrases)
        logits = np.empty(len(pairs), dtype=np.float32)
        device = self._model.device
        self._model.eval()
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            # No padding: it costs time, and a pair's score would depend on its neighbours'.
            for batch in equal_length_batches([len(pair.ids) for pair in pairs], _BATCH_TOKENS[device.type]):
                ids = _stacked([pairs[place].ids for place in batch], device)
                features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                if self._segments:
                    features["token_type_ids"] = _stacked([pairs[place].types for place in batch], device)
                logits[batch] = self._model(features)["scores"].reshape(-1).float().cpu().numpy()
                progress.advance(len(batch))
        return logits


def assistant_version(source: str, folder: Path) -> str:
    """The version of the assistant in `folder`; computed without loading it."""
    return f"{Path(source).name}-{content_digest(folder)[:12]}"


def _stacked(rows: Sequence[NDArray[np.int64]], device: torch.device) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.stack(rows)).to(device)


def _folder_of(source: str) -> Path:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return find_model(source)
    # Cross-encoders of older releases have no modules.json, which is why `find_model` would refuse them.
    if not (folder / "config.json").is_file():
        raise AssistantError(
            f"{folder} is no assistant: it has no config.json; name the folder that `keydistill train assistant` wrote"
        )
    return folder.resolve()


def _check_architecture(folder: Path) -> None:
    # From any other model the library would make a cross-encoder with a random head, which answers and knows nothing.
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures = config.get("architectures") or ["none"]
    except (OSError, ValueError, AttributeError):
        raise AssistantError(
            f"{folder / 'config.json'} is missing or damaged; train or copy the assistant again"
        ) from None
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        raise AssistantError(
            f"{folder} is no cross-encoder: its architecture is {', '.join(map(str, architectures))}; expected one "
            "that classifies pairs; name the folder that `keydistill train assistant` wrote"
        )


def _calibration_of(folder: Path) -> Calibration:
    content = read_model_file(folder)
    try:
        return Calibration(float(content.get("temperature", 1.0)), float(content.get("bias", 0.0)))
    except (TypeError, ValueError):
        raise AssistantError(
            f"{folder} has a calibration that is no number: {content}; train or copy the assistant again"
        ) from None
