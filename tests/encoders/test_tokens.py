import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keydistill.encoders import Student, tokens
from keydistill.encoders.runtime import RuntimeName
from keydistill.encoders.text_tokens import TextTokens
from keydistill.encoders.tokens import TokenBatch, ahead, token_batches
from tests.support.heard_progress import HeardProgress


@pytest.fixture
def tokens_of(tiny_student: Student) -> TextTokens:
    return tiny_student._tokens


def texts(count: int) -> list[str]:
    return [" ".join(["shoe"] * (1 + number * 7 % 11)) for number in range(count)]


@pytest.mark.parametrize("slice", [1, 10, 1_000])
def test_batches_hold_each_text_once_and_one_length(
    tokens_of: TextTokens, monkeypatch: pytest.MonkeyPatch, slice: int
) -> None:
    monkeypatch.setattr(tokens, "SLICE", slice)
    all_texts = texts(200)
    batches = list(token_batches(all_texts, tokens_of, 40))
    assert sorted(place for batch in batches for place in batch.places.tolist()) == list(range(200))
    for places, ids in batches:
        assert len(places) == len(ids)
        assert ids.size <= 40
        for place, row in zip(places, ids, strict=True):
            assert row.tolist() == tokens_of.tokenizer.encode(all_texts[place]).ids


def test_slices_make_hardly_more_batches_than_one(tokens_of: TextTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    batches_of_one_slice = len(list(token_batches(texts(500), tokens_of, 40)))
    monkeypatch.setattr(tokens, "SLICE", 16)
    assert len(list(token_batches(texts(500), tokens_of, 40))) == batches_of_one_slice


def test_no_texts_make_no_batches(tokens_of: TextTokens) -> None:
    assert list(token_batches([], tokens_of, 40)) == []


def test_an_error_on_the_other_thread_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    items_ahead = ahead(items(), 4)
    assert next(items_ahead) == 1
    with pytest.raises(KeyError, match="lost"):
        next(items_ahead)


def test_whoever_stops_early_stops_the_other_thread() -> None:
    before = threading.active_count()
    items_ahead: Any = ahead(iter(range(1_000)), 2)
    next(items_ahead)
    items_ahead.close()
    assert threading.active_count() == before


def test_equal_texts_are_computed_once(tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        name: RuntimeName = "torch"
        batch_tokens, texts_computed = 64, 0

        def run(self, batches: Iterable[TokenBatch]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
            for places, ids in batches:
                self.texts_computed += len(places)
                yield places, np.repeat(ids[:, 1:2].astype(np.float32), 32, axis=1)

    runtime = Counting()
    student = Student("s", "s-32d-0", 32, runtime, tiny_student._tokens)
    progress = HeardProgress()
    vectors = student.embed_keyphrases(["ps5", "red shoes", "ps5", "ps5"], progress)
    assert runtime.texts_computed == 2
    assert sum(progress.counts) == 4
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert vectors.shape == (4, 32)
