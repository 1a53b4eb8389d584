"""Every loss against its formula in numpy, its gradient against finite differences, on a model that is a mere table."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.losses import CoSENTLoss as ReferenceCoSENT
from torch import Tensor, nn
from torch.nn import functional

from keydistill.distillation.losses import (
    DISTILLATION_LOSSES,
    InBatchLoss,
    KnownPairs,
    WeightedLoss,
    distillation_loss,
)
from keydistill.distillation.losses.cosent import ranking_loss
from keydistill.distillation.losses.embedding import embed_once, pair_cosines
from keydistill.distillation.losses.in_batch import contrastive_loss
from keydistill.distillation.losses.kl import listwise_divergence
from keydistill.distillation.losses.listnet import top_one_error
from keydistill.distillation.losses.margin_mse import margin_error
from keydistill.distillation.losses.margin_rank import weighted_rank_error
from keydistill.distillation.losses.pearson import pearson_distance

Floats = NDArray[np.float64]
SCALE = 20.0
ITEMS = np.array([0, 0, 1, 1, 1, 2])
LABELS = np.array([0.9, 0.2, 0.55, 0.1, 0.7, 0.4])


class MeanOfTokens(nn.Module):
    """A model whose text vector is the mean of its tokens' vectors; it notes the features of each call."""

    def __init__(self, tokens: int = 40, dimension: int = 5) -> None:
        super().__init__()
        table = torch.randn(tokens, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.table = nn.Parameter(table)
        self.calls: list[Mapping[str, Any]] = []

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(features)
        if "offsets" in features:
            vectors = functional.embedding_bag(features["input_ids"], self.table, features["offsets"], mode="mean")
        else:
            mask = features["attention_mask"][:, :, None]
            vectors = (self.table[features["input_ids"]] * mask).sum(dim=1) / mask.sum(dim=1)
        features["sentence_embedding"] = vectors
        return features


def padded(texts: list[list[int]]) -> dict[str, Any]:
    """What a tokenizer makes of texts of these tokens."""
    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return {"input_ids": ids, "attention_mask": mask}


def plain(model: MeanOfTokens, features: dict[str, Any]) -> Tensor:
    """Normalised vectors, each text computed by itself."""
    return functional.normalize(model(dict(features))["sentence_embedding"].float(), dim=-1)


def columns() -> list[dict[str, Any]]:
    """Six pairs of three items, whose titles repeat."""
    titles = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
    return [padded([titles[item] for item in ITEMS]), padded([[10], [11, 12], [13], [10], [14, 15, 16], [17]])]


def gradient(model: MeanOfTokens, loss: Tensor) -> Tensor:
    """The gradient of a loss for the model's table."""
    return torch.autograd.grad(loss, model.table)[0]


# ---- embeddings


def test_texts_that_are_embedded_once_have_the_vectors_of_plain_encoding() -> None:
    rng = np.random.default_rng(0)
    # Enough for several chunks of a CPU, in any order of lengths, and a third of them twice.
    distinct = [rng.integers(1, 40, rng.integers(3, 60)).tolist() for _ in range(60)]
    features = padded([distinct[place] for place in rng.permutation([*range(60), *range(20)])])
    once, by_itself = MeanOfTokens(), MeanOfTokens()
    vectors, row_of = embed_once(once, features)
    expected = plain(by_itself, features)
    assert len(vectors) == 60
    torch.testing.assert_close(vectors[row_of], expected)
    assert len(once.calls) > 1
    assert sum(len(call["input_ids"]) for call in once.calls) == 60
    assert sum(call["input_ids"].numel() for call in once.calls) < 0.6 * features["input_ids"].numel()

    weights = torch.arange(80 * 5).reshape(80, 5).float().sin()
    torch.testing.assert_close(
        gradient(once, (vectors[row_of] * weights).sum()), gradient(by_itself, (expected * weights).sum())
    )


def test_a_router_is_told_which_side_a_column_is_for() -> None:
    model = MeanOfTokens()
    embed_once(model, {**padded([[1], [2, 3]]), "task": "query"})
    assert [call["task"] for call in model.calls] == ["query"]


def test_a_table_embeds_all_texts_as_they_are() -> None:
    model = MeanOfTokens()
    features = {"input_ids": torch.tensor([1, 2, 3, 3, 1, 2]), "offsets": torch.tensor([0, 3, 4])}
    vectors, row_of = embed_once(model, features)
    torch.testing.assert_close(vectors, plain(model, padded([[1, 2, 3], [3], [1, 2]])))
    assert row_of.tolist() == [0, 1, 2]
    assert "sentence_embedding" not in features


def test_cosines_are_those_of_the_pairs_and_items_are_numbered() -> None:
    model = MeanOfTokens()
    cosines, item_of = pair_cosines(model, columns())
    items, keyphrases = (plain(model, column) for column in columns())
    torch.testing.assert_close(cosines, (items * keyphrases).sum(dim=1))
    assert [(item_of == item_of[place]).tolist() for place in range(6)] == [
        (ITEMS[place] == ITEMS).tolist() for place in range(6)
    ]
    assert sorted(set(item_of.tolist())) == [0, 1, 2]


# ---- formulas


def pearson_of(cosines: Floats, labels: Floats) -> float:
    return float(1 - np.corrcoef(cosines, labels)[0, 1])


def margin_mse_of(cosines: Floats, labels: Floats) -> float:
    squares = [
        ((cosines[a] - cosines[b]) - (labels[a] - labels[b])) ** 2
        for a in range(len(ITEMS))
        for b in range(a + 1, len(ITEMS))
        if ITEMS[a] == ITEMS[b]
    ]
    return float(np.mean(squares))


def cosent_of(cosines: Floats, labels: Floats) -> float:
    wrong = [
        np.exp(SCALE * (cosines[low] - cosines[high]))
        for low in range(len(labels))
        for high in range(len(labels))
        if labels[high] > labels[low]
    ]
    return float(np.log(1 + np.sum(wrong)))


def kl_of(cosines: Floats, labels: Floats, temperature: float = 1.0) -> float:
    def shares(logits: Floats) -> Floats:
        powers = np.exp(logits / temperature)
        return np.asarray(powers / powers.sum())

    divergences = []
    for item in np.unique(ITEMS):
        mine = item == ITEMS
        assistant, student = shares(np.log(labels[mine] / (1 - labels[mine]))), shares(SCALE * cosines[mine])
        divergences.append(np.sum(assistant * np.log(assistant / student)))
    return float(temperature**2 * np.mean(divergences))


# Of the pairs' keyphrases, the first and the fourth are the same.
KEYPHRASES = np.array([0, 1, 2, 0, 3, 4])


def lists_of(numbers: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """The pairs of each list that has more than one."""
    return [mine for number in np.unique(numbers) if (mine := number == numbers).sum() > 1]


def listnet_of(cosines: Floats, labels: Floats, temperature: float = 1.0) -> float:
    def shares(logits: Floats) -> Floats:
        powers = np.exp(logits / temperature)
        return np.asarray(powers / powers.sum())

    logits = np.log(labels / (1 - labels))
    sides = [
        np.mean([np.sum((p := shares(logits[mine])) * np.log(p / shares(SCALE * cosines[mine]))) for mine in lists])
        for lists in (lists_of(ITEMS), lists_of(KEYPHRASES))
    ]
    return float(temperature**2 * np.mean(sides))


def margin_rank_of(cosines: Floats, labels: Floats) -> float:
    sides = []
    for lists in (lists_of(ITEMS), lists_of(KEYPHRASES)):
        pairs = [
            (labels[high] - labels[low], np.log(1 + np.exp(SCALE * (cosines[low] - cosines[high]))))
            for mine in lists
            for high in np.flatnonzero(mine)
            for low in np.flatnonzero(mine)
            if labels[high] > labels[low]
        ]
        sides.append(sum(weight * error for weight, error in pairs) / sum(weight for weight, _ in pairs))
    return float(np.mean(sides))


FORMULAS: dict[str, Callable[[Floats, Floats], float]] = {
    "pearson": pearson_of,
    "margin_mse": margin_mse_of,
    "cosent": cosent_of,
    "kl": kl_of,
    "listnet": listnet_of,
    "margin_rank": margin_rank_of,
}


@pytest.mark.parametrize("name", [loss.name for loss in DISTILLATION_LOSSES])
def test_a_loss_is_its_formula(name: str) -> None:
    model = MeanOfTokens()
    items, keyphrases = (plain(model, column).double().detach().numpy() for column in columns())
    expected = FORMULAS[name]((items * keyphrases).sum(axis=1), LABELS)
    loss = distillation_loss(name).new(model, SCALE)(columns(), torch.from_numpy(LABELS))
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert gradient(model, loss).abs().sum() > 0


@pytest.mark.parametrize(("name", "formula"), [("kl", kl_of), ("listnet", listnet_of)])
def test_a_temperature_stands_on_both_sides_and_its_square_keeps_the_gradient(
    name: str, formula: Callable[[Floats, Floats, float], float]
) -> None:
    model = MeanOfTokens()
    items, keyphrases = (plain(model, column).double().detach().numpy() for column in columns())
    loss = distillation_loss(name).new(model, SCALE, 3.0)(columns(), torch.from_numpy(LABELS))
    assert loss.item() == pytest.approx(formula((items * keyphrases).sum(axis=1), LABELS, 3.0), rel=1e-4)


def test_losses_of_lists_know_equal_keyphrases_of_a_table() -> None:
    model = MeanOfTokens()
    titles, keyphrases = columns()
    bags = {
        "input_ids": torch.tensor([10, 11, 12, 13, 10, 14, 15, 16, 17]),
        "offsets": torch.tensor([0, 1, 3, 4, 5, 8]),
    }
    for name in ("listnet", "margin_rank"):
        loss = distillation_loss(name).new(model, SCALE)
        labels = torch.from_numpy(LABELS)
        assert loss([titles, bags], labels).item() == pytest.approx(loss([titles, keyphrases], labels).item(), rel=1e-5)


SAME_ITEM = torch.from_numpy(ITEMS[:, None] == ITEMS[None, :])
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "pearson": lambda cosines: pearson_distance(cosines, torch.from_numpy(LABELS)),
    "margin_mse": lambda cosines: margin_error(cosines, torch.from_numpy(LABELS), torch.from_numpy(ITEMS)),
    "cosent": lambda cosines: ranking_loss(cosines, torch.from_numpy(LABELS)),
    "kl": lambda cosines: listwise_divergence(
        SCALE * cosines, torch.from_numpy(LABELS).logit(), torch.from_numpy(ITEMS)
    ),
    "listnet": lambda cosines: top_one_error(SCALE * cosines, torch.from_numpy(LABELS).logit(), SAME_ITEM),
    "margin_rank": lambda cosines: weighted_rank_error(SCALE * cosines, torch.from_numpy(LABELS), SAME_ITEM),
    "in batch": lambda cosines: contrastive_loss(
        cosines.reshape(2, 3), torch.tensor([2, 0]), torch.tensor([[False, True, False], [False, False, False]])
    ),
}


@pytest.mark.parametrize("name", [*FUNCTIONS])
def test_a_gradient_is_that_of_finite_differences(name: str) -> None:
    cosines = torch.tensor([0.3, 0.5, -0.2, 0.1, 0.8, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FUNCTIONS[name], (cosines,))


def test_cosent_is_that_of_sentence_transformers() -> None:
    model, reference_model = MeanOfTokens(), MeanOfTokens()
    labels = torch.from_numpy(LABELS).float()
    loss = distillation_loss("cosent").new(model, SCALE)(columns(), labels)
    reference: Any = ReferenceCoSENT(reference_model, scale=SCALE)  # type: ignore[arg-type]
    expected = reference(columns(), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient(model, loss), gradient(reference_model, expected), rtol=1e-4, atol=1e-6)


# ---- where there is nothing to learn


def test_labels_without_an_order_or_a_margin_teach_nothing() -> None:
    cosines = torch.tensor([0.3, 0.5, -0.2], dtype=torch.float64, requires_grad=True)
    same = torch.full((3,), 0.5, dtype=torch.float64)
    ranking = ranking_loss(cosines, same)
    margins = margin_error(cosines, same, torch.tensor([0, 1, 2]))
    assert (ranking.item(), margins.item()) == (0, 0)
    assert torch.autograd.grad(ranking + margins, cosines)[0].tolist() == [0, 0, 0]
    alone = torch.eye(3, dtype=torch.bool)
    assert (top_one_error(cosines, same, alone).item(), weighted_rank_error(cosines, same, alone).item()) == (0, 0)
    assert pearson_distance(cosines.detach(), same).item() == pytest.approx(1)


# ---- in-batch negatives


def test_known_pairs_are_those_that_were_given() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, (8, 9), (30, 2))
    is_known = KnownPairs(pairs, keyphrases=9)(torch.arange(8), torch.arange(9))
    expected = np.zeros((8, 9), dtype=bool)
    expected[pairs[:, 0], pairs[:, 1]] = True
    np.testing.assert_array_equal(is_known.numpy(), expected)
    assert not KnownPairs(np.empty((0, 2), dtype=np.int64), 9)(torch.arange(8), torch.arange(9)).any()


def test_the_in_batch_loss_is_its_formula_without_false_negatives() -> None:
    model = MeanOfTokens()
    titles, keyphrases, negatives = [[1, 2], [3], [1, 2], [4]], [[10], [11], [12], [10]], [[13], [14], [11], [15]]
    item_of, keyphrase_of, negative_of = [0, 1, 0, 2], [0, 1, 2, 0], [3, 4, 1, 5]
    # That the first item's second keyphrase is right is known, and stands in no row of its own.
    known_pairs = {(0, 1)}
    features = [padded(texts) for texts in (titles, keyphrases, negatives)]
    items, right, wrong = (plain(model, column).double().detach().numpy() for column in features)
    candidates, candidate_of = np.concatenate([right, wrong]), [*keyphrase_of, *negative_of]

    def cross_entropy(scores: Floats, own: int, compared: list[int]) -> float:
        return float(np.log(np.exp(scores[compared]).sum()) - scores[own])

    to_keyphrases, to_items = [], []
    for row in range(4):
        compared = [
            place
            for place, number in enumerate(candidate_of)
            if place == row or (number != keyphrase_of[row] and (item_of[row], number) not in known_pairs)
        ]
        to_keyphrases.append(cross_entropy(SCALE * candidates @ items[row], row, compared))
        compared = [
            place
            for place, number in enumerate(item_of)
            if place == row or (number != item_of[row] and (number, keyphrase_of[row]) not in known_pairs)
        ]
        to_items.append(cross_entropy(SCALE * items @ right[row], row, compared))
    expected = (np.mean(to_keyphrases) + np.mean(to_items)) / 2

    loss = InBatchLoss(model, KnownPairs(np.array([*known_pairs]), keyphrases=6), SCALE)
    value = loss(features, torch.tensor([item_of, keyphrase_of, negative_of]).T)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_a_weight_multiplies_a_loss_and_its_gradient() -> None:
    gradients = []
    for weight in (1.0, 0.25):
        model = MeanOfTokens()
        loss = WeightedLoss(distillation_loss("pearson").new(model, SCALE), weight)
        gradients.append(gradient(model, loss(columns(), torch.from_numpy(LABELS))))
    torch.testing.assert_close(gradients[0] * 0.25, gradients[1])
