"""Turns a model's vectors onto their principal axes, so that their first dimensions say most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def rotate(model: SentenceTransformer, texts: Sequence[str]) -> None:
    """Append an orthogonal layer that a training may go on to change.

    A rotation changes no cosine of whole vectors. Cut to k dimensions, vectors on the principal axes keep more of their
    cosines than any other k (Eckart and Young, 1936): Matryoshka training (arXiv 2205.13147) then begins where the
    cut already costs little. A model that ends in a linear layer is left as it is: it has been turned before.

    Args:
        model: Changed in place.
        texts: What the axes are found by: such texts as the model will embed, n of them; fewer than dimensions leave
            the rest of the axes to chance.
    """
    import torch
    from sentence_transformers.base.modules import Dense, Normalize

    modules = list(model)
    place = len(modules) - isinstance(modules[-1], Normalize)
    if isinstance(modules[place - 1], Dense):
        return
    vectors = model.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    wide = np.asarray(vectors, dtype=np.float64)
    # Eigenvectors come as columns, that of the smallest eigenvalue first.
    axes = np.linalg.eigh(wide.T @ wide).eigenvectors.T[::-1]
    layer = Dense(
        axes.shape[1],
        axes.shape[0],
        bias=False,
        activation_function=torch.nn.Identity(),
        init_weight=torch.from_numpy(np.ascontiguousarray(axes, dtype=np.float32)),
    )
    modules.insert(place, layer.to(model.device))
    model._modules.clear()
    for number, module in enumerate(modules):
        model.add_module(str(number), module)
