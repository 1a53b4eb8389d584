"""Shapes of students and sizes of assistants: the tables that recipes and commands choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from keydistill.errors import TrainingError


@dataclass(frozen=True, slots=True)
class StudentShape:
    """A shape: how a student is built from its base.

    Attributes:
        name: Its name in recipes and commands.
        description: Description of it in help texts.
        layers: Number of transformer layers that it keeps; None leaves their number to the recipe.
        keyphrase_table: Whether it reads keyphrases with a table of token vectors, and only items with the transformer.
        epochs: Number of passes over the pairs that it needs; a row of a table learns from few of them.
    """

    name: str
    description: str
    layers: int | None = None
    keyphrase_table: bool = False
    epochs: float = 2.0


STUDENT_SHAPES = (
    StudentShape("six", "all layers of the base"),
    StudentShape("three", "three of them", layers=3),
    StudentShape("static", "a table of token vectors for keyphrases", keyphrase_table=True, epochs=4.0),
)
SHAPE_NAMES = tuple(shape.name for shape in STUDENT_SHAPES)


@dataclass(frozen=True, slots=True)
class AssistantSize:
    """A size: how large an assistant is.

    Attributes:
        name: Its name in recipes and commands.
        layers: Number of transformer layers; of a pretrained base the first ones are kept.
        learning_rate: The peak learning rate that suits it.
        hidden_size: None keeps the base and its weights; a number makes a new BERT of that width, with random weights
            and the tokenizer of the base.
        attention_heads: Attention heads of a new BERT.
    """

    name: str
    layers: int
    learning_rate: float
    hidden_size: int | None = None
    attention_heads: int = 4


# The last is BERT-mini of arXiv 1908.08962, which the sister paper's assistant is, without that one's pre-training: it
# needs far more pairs than the others.
ASSISTANT_SIZES = (
    AssistantSize("minilm-6", layers=6, learning_rate=1e-4),
    AssistantSize("minilm-3", layers=3, learning_rate=2e-4),
    AssistantSize("bert-mini", layers=4, learning_rate=3e-4, hidden_size=256),
)
SIZE_NAMES = tuple(size.name for size in ASSISTANT_SIZES)

# Type checkers cannot follow a table; pydantic and recipes hold the names to it.
if TYPE_CHECKING:
    ShapeName = str
else:
    ShapeName = Literal[SHAPE_NAMES]


def student_shape(name: str) -> StudentShape:
    """The shape of that name.

    Raises:
        TrainingError: There is none.
    """
    for shape in STUDENT_SHAPES:
        if shape.name == name:
            return shape
    raise TrainingError(f"shape is {name}; expected {' or '.join(SHAPE_NAMES)}")


def assistant_size(name: str) -> AssistantSize:
    """The size of that name.

    Raises:
        TrainingError: There is none.
    """
    for size in ASSISTANT_SIZES:
        if size.name == name:
            return size
    raise TrainingError(f"there is no assistant of size {name!r}; expected one of {', '.join(SIZE_NAMES)}")
