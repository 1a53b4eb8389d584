"""Rotation of a model's vectors onto their principal axes, so that their first dimensions say most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keydistill.distillation.student.towers import embedded, item_modules, table_of
from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def rotate(model: SentenceTransformer, items: Sequence[str], keyphrases: Sequence[str] = ()) -> None:
    """Append an orthogonal layer that a training may go on to change.

    A rotation changes no cosine of whole vectors. Cut to k dimensions, vectors on the principal axes keep more of their
    cosines than any other k (Eckart and Young, 1936): Matryoshka training (arXiv 2205.13147) then begins where the
    cut already costs little. A model that ends in a linear layer is left as it is: it has been turned before. The
    table of an asymmetric one is turned in the same way.

    Args:
        model: Model to turn; it is changed in place.
        items: Texts of items such as the model will embed. They decide the axes together with the keyphrases; fewer
            texts than dimensions leave the rest of the axes to chance.
        keyphrases: Keyphrases such as the model will embed.
    """
    import torch
    from sentence_transformers.base.modules import Dense, Normalize

    side = item_modules(model)
    modules = list(side)
    place = len(modules) - isinstance(modules[-1], Normalize)
    if isinstance(modules[place - 1], Dense):
        return
    parts = [
        embedded(model, texts, route) for texts, route in ((items, ITEM_ROUTE), (keyphrases, KEYPHRASE_ROUTE)) if texts
    ]
    wide = np.concatenate(parts).astype(np.float64)
    # Eigenvectors come as columns, that of the smallest eigenvalue first.
    axes = np.linalg.eigh(wide.T @ wide).eigenvectors.T[::-1]
    turn = torch.from_numpy(np.ascontiguousarray(axes, dtype=np.float32)).to(model.device)
    layer = Dense(
        turn.shape[1], turn.shape[0], bias=False, activation_function=torch.nn.Identity(), init_weight=turn.clone()
    )
    modules.insert(place, layer.to(model.device))
    side._modules.clear()
    for number, module in enumerate(modules):
        side.add_module(str(number), module)
    table = table_of(model)
    if table is not None:
        table.weight.data = table.weight.data @ turn.T
