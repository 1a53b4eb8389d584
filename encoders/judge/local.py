"""A judge in a folder: a causal language model of Hugging Face, asked for its next token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keydistill.encoders.batching import equal_length_batches
from keydistill.encoders.judge.judgment import Judgment, Pair, Problem, Usage
from keydistill.encoders.judge.prompt import Message, PromptTemplate
from keydistill.encoders.judge.yes_no import word
from keydistill.encoders.models import SAFETENSORS, content_digest
from keydistill.errors import JudgeError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Pairs that are sorted by length together: enough to fill batches, few enough to lose when the process is killed.
_SLICE = 512
_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
_SPELLINGS = [f"{space}{word}" for space in ("", " ") for word in ("yes", "Yes", "YES", "no", "No", "NO")]


class LocalJudge:
    """A judge that compares a model's next-token probabilities of yes and no; see `Judge`.

    The label counts only if the likeliest token of all is a yes or a no: what a chat endpoint would have answered.

    Args:
        name: Name of the model.
        model: A causal language model.
        tokenizer: Its tokenizer; the chat template is used where there is one.
        prompt: Wording of the question.
        digest: Hash of the model's files.
    """

    def __init__(
        self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: PromptTemplate, digest: str
    ) -> None:
        self._name = name
        self._model = model
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._identity = json.dumps(["local", digest, prompt.version])
        self._special = sorted({str(token) for token in tokenizer.added_tokens_decoder.values() if token.special})
        self._words = _single_tokens(tokenizer)
        self._longest = int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)

    @classmethod
    def load(
        cls, folder: Path, prompt: PromptTemplate, *, threads: int | None = None, device: str | None = None
    ) -> LocalJudge:
        """Load a model.

        Args:
            folder: Folder that `save_pretrained` of model and tokenizer wrote.
            prompt: Wording of the question.
            threads: Threads for arithmetic on CPU; None leaves it to torch.
            device: "cpu" or "cuda"; None takes a GPU where there is one.

        Raises:
            JudgeError: It cannot be loaded, or its tokenizer has no single token for yes or for no.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        if not (folder / "config.json").is_file():
            raise JudgeError(f"{folder} holds no language model: it has no config.json; name the folder of one")
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar on a terminal that has ours
        if threads is not None:
            torch.set_num_threads(threads)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # Any: the library's own types know of no `to(device)`.
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, **SAFETENSORS, dtype="auto" if device == "cuda" else torch.float32
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise JudgeError(f"{folder} cannot be loaded as a language model: {reason}; copy it again") from error
        model.eval()
        model.to(device)
        return cls(folder.resolve().name, model, tokenizer, prompt, content_digest(folder))

    def __repr__(self) -> str:
        return f"LocalJudge({self._name!r}, {self.prompt_version!r})"

    @property
    def name(self) -> str:
        """Name of the model's folder."""
        return self._name

    @property
    def prompt_version(self) -> str:
        """Version of the prompt's template."""
        return self._prompt.version

    def key(self, pair: Pair) -> bytes:
        """Hash of the model's files, the template, title, category and keyphrase."""
        content = json.dumps([self._identity, pair.title, pair.category, pair.keyphrase])
        return hashlib.sha256(content.encode()).digest()

    def estimate(self, pair: Pair) -> Usage:
        """The exact number of tokens, counted with the model's tokenizer."""
        return Usage(len(self.token_ids(pair)), 1)

    def token_ids(self, pair: Pair) -> list[int]:
        """The prompt about a pair as the model sees it, special tokens included."""
        text, has_specials = self._text(self._prompt.messages(pair, special=self._special))
        ids: list[int] = self._tokenizer(text, add_special_tokens=not has_specials)["input_ids"]
        return ids

    def judge_many(self, pairs: Iterable[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        """Judge pairs in batches of one length; see `Judge.judge_many`."""
        waiting = iter(pairs)
        while chunk := list(islice(waiting, _SLICE)):
            prompts = [self.token_ids(pair) for pair in chunk]
            for batch in equal_length_batches([len(ids) for ids in prompts], _BATCH_TOKENS[self._model.device.type]):
                length = len(prompts[batch[0]])
                if length > self._longest:
                    problem = Problem("refused", f"{length:,} tokens; the model takes {self._longest:,}")
                    yield from ((chunk[place], Judgment(None, problem=problem)) for place in batch)
                    continue
                judgments = self._judge(np.asarray([prompts[place] for place in batch], dtype=np.int64))
                yield from zip((chunk[place] for place in batch), judgments, strict=True)

    def _judge(self, prompts: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> list[Judgment]:
        import torch

        ids = torch.from_numpy(prompts).to(self._model.device)
        with torch.inference_mode():
            # Only the last position's logits: those of a whole prompt over a large vocabulary take gigabytes.
            output = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), logits_to_keep=1)
            logits: torch.Tensor = output.logits[:, -1].float()
            both = torch.stack([logits[:, self._words[True]].logsumexp(1), logits[:, self._words[False]].logsumexp(1)])
            probabilities = both.softmax(0)[0].tolist()
            likeliest = logits.argmax(1).tolist()
        usage = Usage(prompts.shape[1], 1)
        words = {*self._words[True], *self._words[False]}
        judgments = []
        for probability, token in zip(probabilities, likeliest, strict=True):
            if token in words:
                judgments.append(Judgment(probability >= 0.5, probability, usage))
            else:
                beginning = repr(self._tokenizer.decode([token]))
                problem = Problem("malformed_answer", f"neither yes nor no: begins with {beginning}")
                judgments.append(Judgment(None, usage=usage, malformed=1, problem=problem))
        return judgments

    def _text(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """The chat as one text, and whether that has the model's special tokens already."""
        if not self._tokenizer.chat_template:
            return "\n\n".join(message["content"] for message in messages) + "\n\nAnswer:", False
        from jinja2 import TemplateError

        system, user = messages
        try:
            return self._templated([dict(system), dict(user)]), True
        except TemplateError:
            # Some models know no system role, and their template says so by an error.
            return self._templated([{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}]), True

    def _templated(self, messages: list[dict[str, str]]) -> str:
        # `enable_thinking` reaches the templates that know it; the others do not look.
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        assert isinstance(text, str)
        return text


def _single_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[bool, list[int]]:
    tokens_of: dict[bool, set[int]] = {True: set(), False: set()}
    for spelling in _SPELLINGS:
        ids = tokenizer(spelling, add_special_tokens=False)["input_ids"]
        answer = word(spelling)
        if len(ids) == 1 and answer is not None and word(str(tokenizer.decode(ids))) is answer:
            tokens_of[answer].add(ids[0])
    if not (tokens_of[True] and tokens_of[False]):
        raise JudgeError("the model's tokenizer has no single token for yes or for no; use another model")
    return {label: sorted(ids) for label, ids in tokens_of.items()}
