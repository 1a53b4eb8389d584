"""The options of trainings that more than one command has, with the choices that the tables of distillation name."""

from collections.abc import Iterable

import click

from keydistill.distillation import ASSISTANT_SIZES, SHAPE_NAMES, SIZE_NAMES, STUDENT_SHAPES
from keydistill.distillation.losses import DISTILLATION_LOSSES, LOSS_NAMES


def _described(choices: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({description})" for name, description in choices)


shape_option = click.option(
    "--shape",
    type=click.Choice(SHAPE_NAMES),
    help="Shape of the student: "
    + _described((shape.name, shape.description) for shape in STUDENT_SHAPES)
    + f".  [default: {STUDENT_SHAPES[0].name}]",
)
loss_option = click.option(
    "--distillation-loss",
    type=click.Choice(LOSS_NAMES),
    help="Loss for the assistant's scores: "
    + _described((loss.name, loss.description) for loss in DISTILLATION_LOSSES)
    + f".  [default: {DISTILLATION_LOSSES[0].name}]",
)
judgments_loss_option = click.option(
    "--judgments-loss",
    type=click.Choice(LOSS_NAMES),
    help="Loss for judgments and grades that are learned directly, as for the assistant's scores; where people judged "
    "lists of items and there are no clicks, they are learned directly only if it is given.  [default: cosent]",
)
hard_negatives_option = click.option(
    "--hard-negatives",
    type=click.IntRange(0),
    help="Number of keyphrases that come with each positive pair, besides those of its batch, and that the assistant "
    "rejects for its item.  [default: 0]",
)
seeds_option = click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Number of trainings of the student, by this seed and those after it, whose weights are averaged.  "
    "[default: 1]",
)
ITEM_TEXT_HELP = (
    "Template of the text that stands for an item: {title}, {leaf}, {path}, and further columns of the items, as in "
    "'{leaf}: {title} {brand}'."
)
SIZES_HELP = f"Size of the assistant: {', '.join(SIZE_NAMES)}.  [default: {ASSISTANT_SIZES[0].name}]"
FOLDS_HELP = (
    "Number of models of the assistant that are each kept from another part of the keyphrases, and measured on it, "
    "before one learns all; 1 is one split, 0 takes 3 where few keyphrases were judged, otherwise 1.  "
    "[default: 0 in a retrain on judged lists of items without clicks, otherwise 1]"
)
trust_option = click.option(
    "--trust-assistant",
    metavar="REASON",
    help="Why the scores of an assistant that is no better than chance, or orders items no better than an untrained "
    "student, are to be learned nevertheless.",
)
