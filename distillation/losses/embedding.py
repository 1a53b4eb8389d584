"""Embeddings of a batch in which texts repeat and differ in length: each is computed once, and hardly any padding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Features = Mapping[str, Any]

# Tokens, padding included, of one forward pass on CPU: more gains nothing there (encoders/student.py). A GPU takes all.
_CPU_TOKENS = 1_024


def embed_once(model: nn.Module, features: Features) -> tuple[Tensor, Tensor]:
    """Embed the distinct texts of a column.

    A batch of scored pairs holds several keyphrases of one item, and titles are the long texts: computing a title once
    and not once per pair makes a step two to three times shorter. On CPU the texts go through the model in order of
    length, a few at a time, since a batch padded to its longest title is half padding. A table of token vectors takes
    all texts as they are: there a text costs hardly anything.

    Args:
        model: Module that is called with the features and returns `sentence_embedding`.
        features: A column as the tokenizer gives it: `input_ids` and `attention_mask`, shape (b, tokens) each; for a
            table `input_ids` of all texts in a row, and `offsets` where each begins, shape (b,). `task` where a router
            has to know it.

    Returns:
        Normalised embeddings of u texts, all distinct ones among them, shape (u, d), float32; and for each of the b
        rows the number of its text among these, shape (b,).
    """
    if "offsets" in features:
        # A copy, for the module writes its answer into the features.
        embeddings = model(dict(features))["sentence_embedding"].float()
        return functional.normalize(embeddings, dim=-1), torch.arange(len(embeddings), device=embeddings.device)
    ids, mask = features["input_ids"], features["attention_mask"]
    route = {key: features[key] for key in ("task",) if key in features}
    _, text_of = torch.unique(ids, dim=0, return_inverse=True)
    # The first row of each text. Scattered backwards, so that the first one is the last to be written.
    rows = torch.arange(len(ids) - 1, -1, -1, device=ids.device)
    first = torch.empty(int(text_of.max()) + 1, dtype=torch.long, device=ids.device)
    first.index_put_((text_of[rows],), rows)

    lengths = mask[first].sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    embedded = [
        model({"input_ids": ids[first[chunk], :longest], "attention_mask": mask[first[chunk], :longest], **route})
        for chunk, longest in _chunks(order, lengths[order].tolist(), ids.is_cpu)
    ]
    embeddings = torch.cat([output["sentence_embedding"].float() for output in embedded])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return functional.normalize(embeddings, dim=-1), place[text_of]


def _chunks(order: Tensor, lengths: Sequence[int], on_cpu: bool) -> list[tuple[Tensor, int]]:
    """Texts in order of length, cut where the next one would make a chunk too large; and the longest of each."""
    if not on_cpu:
        return [(order, lengths[-1])]
    chunks = []
    start = 0
    for end, length in enumerate(lengths):
        if end > start and (end - start + 1) * length > _CPU_TOKENS:
            chunks.append((order[start:end], lengths[end - 1]))
            start = end
    chunks.append((order[start:], lengths[-1]))
    return chunks


def pair_cosines(model: nn.Module, sentence_features: Sequence[Features]) -> tuple[Tensor, Tensor]:
    """Cosine of the item and the keyphrase of each pair.

    Args:
        model: Module that gives embeddings, as in `embed_once`.
        sentence_features: The columns item and keyphrase.

    Returns:
        Cosines, shape (b,), and a number for the item of each pair, shape (b,): equal items, equal numbers, from 0
        without a gap.
    """
    cosines, item_of, _ = _numbered_pairs(model, sentence_features)
    return cosines, item_of


def pair_lists(model: nn.Module, sentence_features: Sequence[Features]) -> tuple[Tensor, list[Tensor]]:
    """Cosine of each pair, as in `pair_cosines`, and the lists that the pairs of a batch make.

    Returns:
        Cosines, shape (b,); and whether two pairs belong to the list of one item, and whether to that of one
        keyphrase, shape (b, b) each. A pair belongs to its own lists.
    """
    cosines, *of = _numbered_pairs(model, sentence_features)
    return cosines, [numbers[:, None] == numbers[None, :] for numbers in of]


def _numbered_pairs(model: nn.Module, sentence_features: Sequence[Features]) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine, and numbers of item and keyphrase, of each pair; shape (b,) each."""
    item_features, keyphrase_features = sentence_features
    items, item_of = embed_once(model, item_features)
    keyphrases, keyphrase_of = embed_once(model, keyphrase_features)
    cosines = (items[item_of] * keyphrases[keyphrase_of]).sum(dim=-1)
    if "offsets" in keyphrase_features:
        # A table has a vector for each row; equal texts have equal ones.
        _, keyphrase_of = torch.unique(keyphrases.detach(), dim=0, return_inverse=True)
    return cosines, item_of, keyphrase_of
