"""Validation of rows of signals, cell by cell and then as a whole, so that they do not contradict themselves."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from keydistill.distillation.signals.schemas import GRADE_LETTERS, MAX_GRADE
from keydistill.tables import (
    RawBatch,
    Reason,
    RejectedValueError,
    RowProblems,
    count_cell,
    field_cell,
    id_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    leaf_category,
    number_cell,
    text_cell,
    yes_no_cell,
)

Columns = dict[str, list[Any]]

# Largest position and count of one row, so that sums fit their types.
_MAX_POSITION = (1 << 31) - 1
_MAX_COUNT = 1 << 40
_WHOLE_GRADE = re.compile(r"([0-9])[.,]0+")


def category_cell(value: object) -> str | None:
    """A whole category path, spelled as in the inventory.

    Raises:
        RejectedValueError: It is malformed.
    """
    return leaf_category(None, None if is_missing(value) else value)


# Parser of each column of an item.
ITEM_CELLS: Mapping[str, Callable[[Any], Any]] = {
    "item_id": id_cell,
    "title": text_cell,
    "category_path": category_cell,
    "site": label_cell,
}


def grade_cell(value: object) -> int | None:
    """A grade from 0 to 3, or one of the letters E, S, C, I.

    Raises:
        RejectedValueError: It is something else.

    >>> grade_cell("E"), grade_cell("2"), grade_cell(1.0), grade_cell(None)
    (3, 2, 1, None)
    """
    letter = GRADE_LETTERS.get(value.strip().upper()) if isinstance(value, str) else None
    if letter is not None:
        return letter
    if isinstance(value, str) and (whole := _WHOLE_GRADE.fullmatch(value.strip())):
        # OpenSearch writes "3.000", which is no number of thousands here.
        value = whole[1]
    try:
        grade = count_cell(value)
    except RejectedValueError:
        grade = MAX_GRADE + 1
    if grade is not None and grade > MAX_GRADE:
        raise RejectedValueError(Reason.BAD_LABEL, f"is no grade; write 0 to {MAX_GRADE}, or E, S, C, I")
    return grade


def pair_columns(batch: RawBatch, problems: RowProblems, max_keyphrase_chars: int) -> Columns:
    """The columns `item_id`, `keyphrase` and `site` of any table of pairs, and the problems of their cells."""
    raw = batch.columns
    return {
        "item_id": problems.parsed("item_id", raw["item_id"], id_cell),
        "keyphrase": problems.parsed(
            "keyphrase", raw["keyphrase"], lambda value: keyphrase_cell(value, max_keyphrase_chars)
        ),
        "site": problems.parsed("site", raw["site"], label_cell),
    }


def item_columns(batch: RawBatch, problems: RowProblems, fields: Sequence[str] = ()) -> Columns:
    """Columns of `ITEMS` and of free fields, and the problems of the rows that have no such columns."""
    cells = {**ITEM_CELLS, **dict.fromkeys(fields, field_cell)}
    return {name: problems.parsed(name, batch.columns[name], parse) for name, parse in cells.items()}


def click_columns(batch: RawBatch, problems: RowProblems, max_keyphrase_chars: int) -> Columns:
    """Columns of `CLICKS`, and the problems of the rows that have no such columns."""
    raw = batch.columns
    columns = {
        **pair_columns(batch, problems, max_keyphrase_chars),
        "position": problems.parsed("position", raw["position"], _position),
        "impressions": problems.parsed("impressions", raw["impressions"], partial(_count, minimum=1)),
        "clicks": problems.parsed("clicks", raw["clicks"], partial(_count, minimum=0)),
        "sales": problems.parsed("sales", raw["sales"], partial(number_cell, low=0)),
    }
    for place, (shown, clicked) in enumerate(zip(columns["impressions"], columns["clicks"], strict=True)):
        if shown is not None and clicked is not None and clicked > shown:
            detail = f"is more than the {shown:,} impressions; count a click only where the pair was shown"
            problems.add(place, "clicks", RejectedValueError(Reason.CONTRADICTION, detail), raw["clicks"][place])
    return columns


def _position(value: object) -> int | None:
    position = count_cell(value, 1)
    if position is not None and position > _MAX_POSITION:
        raise RejectedValueError(Reason.BAD_NUMBER, f"is larger than {_MAX_POSITION:,}")
    return position


def _count(value: object, minimum: int) -> int:
    count = count_cell(value, minimum)
    if count is None:
        raise RejectedValueError(Reason.EMPTY, f"is empty; expected a whole number from {minimum} up")
    if count > _MAX_COUNT:
        raise RejectedValueError(Reason.BAD_NUMBER, f"is larger than {_MAX_COUNT:,}")
    return count


def search_columns(
    batch: RawBatch, problems: RowProblems, threshold: float | None, max_keyphrase_chars: int
) -> Columns:
    """Columns of `SEARCH_RELEVANCE`, and the problems of the rows that have no such columns."""
    columns = {
        **pair_columns(batch, problems, max_keyphrase_chars),
        "score": problems.parsed("score", batch.columns["score"], number_cell),
        "passed": problems.parsed("passed", batch.columns["passed"], yes_no_cell),
    }
    for place, (score, passed) in enumerate(zip(columns["score"], columns["passed"], strict=True)):
        if passed is None and score is None:
            detail = "is empty, and so is score; give one of them"
            problems.add(place, "passed", RejectedValueError(Reason.EMPTY, detail), None)
        elif passed is None and threshold is not None:
            columns["passed"][place] = score >= threshold
    return columns


def judgment_columns(batch: RawBatch, problems: RowProblems, relevant_grade: int, max_keyphrase_chars: int) -> Columns:
    """Columns of `JUDGMENTS`, and the problems of the rows that have no such columns."""
    raw: Mapping[str, Sequence[object]] = batch.columns
    columns = {
        **pair_columns(batch, problems, max_keyphrase_chars),
        "label": problems.parsed("label", raw["label"], _label_or_letter),
        "grade": problems.parsed("grade", raw["grade"], grade_cell),
        "probability": problems.parsed("probability", raw["probability"], lambda value: number_cell(value, 0, 1)),
        "judge": problems.parsed("judge", raw["judge"], label_cell),
        "prompt_version": problems.parsed("prompt_version", raw["prompt_version"], label_cell),
    }
    cells = zip(columns["label"], columns["grade"], columns["probability"], strict=True)
    for place, (label, grade, probability) in enumerate(cells):
        try:
            columns["label"][place], columns["grade"][place] = _settled(label, grade, probability, relevant_grade)
        except RejectedValueError as problem:
            problems.add(place, "label", problem, raw["label"][place])
    return columns


def _label_or_letter(value: object) -> bool | str | None:
    if isinstance(value, str) and value.strip().upper() in GRADE_LETTERS:
        return value.strip().upper()
    return yes_no_cell(value)


def _settled(
    label: bool | str | None, grade: int | None, probability: float | None, relevant_grade: int
) -> tuple[bool, int | None]:
    """Label and grade of one row; they must not contradict each other or the probability."""
    if isinstance(label, str):
        letter, label = label, None
        if grade is not None and grade != GRADE_LETTERS[letter]:
            detail = f"is {letter}, which is grade {GRADE_LETTERS[letter]}, and grade is {grade}; correct one"
            raise RejectedValueError(Reason.CONTRADICTION, detail)
        grade = GRADE_LETTERS[letter]
    if label is None and grade is not None:
        label = grade >= relevant_grade
    if probability is None:
        if label is None:
            raise RejectedValueError(Reason.EMPTY, "is empty, and so are grade and probability; give one of them")
        return label, grade
    if label is None:
        return probability >= 0.5, grade
    # At exactly one half either label is right.
    if (label and probability < 0.5) or (not label and probability > 0.5):
        answer = "yes" if label else "no"
        detail = f"says {answer}, and the probability of yes is {probability:g}; correct one"
        raise RejectedValueError(Reason.CONTRADICTION, detail)
    return label, grade
