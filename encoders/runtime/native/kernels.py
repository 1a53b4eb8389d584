"""`int8_bert.c` from Python: the compiled library, its structures, and what it needs of the CPU."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders.runtime.cpu import cpu_name
from keydistill.encoders.runtime.native.layout import Packed
from keydistill.errors import RuntimeUnavailableError, StudentError
from keydistill.files import file_sha256

_MODULE = "keydistill.encoders.runtime.native._int8_bert"
# Version of the interface, which int8_bert.c states too: a library that was compiled from another source would read
# wild pointers.
_INTERFACE = 2
# Names the instructions to compute with, in place of the fastest ones that the CPU has: to measure or test the others.
_WANTED = "KEYDISTILL_INT8_INSTRUCTIONS"
# The linear layers within a layer of a BERT.
_PRODUCTS = ("qkv", "mixed", "inner", "outer")


# The structures of int8_bert.c, field by field.
class _Linear(Structure):
    _fields_ = [(name, c_long) for name in ("inputs", "outputs", "group")] + [
        (name, c_void_p) for name in ("levels", "offsets", "steps", "bias")
    ]


class _Layer(Structure):
    _fields_ = [(name, _Linear) for name in _PRODUCTS] + [
        (name, c_void_p)
        for name in (
            *("qkv_scales", "inner_scales", "outer_scales"),
            *("first_weight", "first_bias", "second_weight", "second_bias"),
        )
    ]


class _Dense(Structure):
    _fields_ = [("inputs", c_long), ("outputs", c_long), ("weights", c_void_p), ("bias", c_void_p)]


class _Bert(Structure):
    _fields_ = [
        *((name, c_long) for name in ("width", "inner", "heads", "layer_count")),
        ("epsilon", c_float),
        *((name, c_void_p) for name in ("words", "places", "weight", "bias")),
        ("layers", POINTER(_Layer)),
    ]


def int8_kernels_version() -> str:
    """The version of the kernels that are used here: interface, hash of what was compiled, and instructions.

    Raises:
        RuntimeUnavailableError: They were not compiled, cannot be loaded, or the CPU lacks what they need.
    """
    kernels = _chosen()
    return f"{_INTERFACE}.{kernels.digest[:8]}-{kernels.instructions}"


def int8_instructions() -> str:
    """The instructions that the kernels compute with here.

    Raises:
        RuntimeUnavailableError: The kernels cannot be used here; see `int8_kernels_version`.
    """
    return _chosen().instructions


def usable_instructions() -> dict[str, int]:
    """The instructions that there are kernels for and that this CPU has, the fastest first, and the kernels' numbers.

    Raises:
        RuntimeUnavailableError: There are none, or the kernels were not compiled, or cannot be loaded.
    """
    library, _ = _library()
    names: list[str] = []
    while name := library.int8_bert_instructions(len(names)):
        names.append(name.decode())
    usable = {name: number for number, name in enumerate(names) if library.int8_bert_supported(number)}
    if not usable:
        raise RuntimeUnavailableError(
            f"the CPU ({cpu_name()}) has none of the instructions that the int8 kernels are written for "
            f"({', '.join(names) or 'none of this architecture'})"
        )
    return usable


class Int8Bert:
    """A student's arithmetic by the kernels; threads may share one.

    Attributes:
        vocabulary: Number of tokens that it knows.
        longest: Most tokens per text.
    """

    def __init__(self, packed: Packed) -> None:
        """A student of packed weights, which are kept alive and not copied.

        Raises:
            RuntimeUnavailableError: The kernels cannot be used here; see `int8_kernels_version`.
        """
        kernels = _chosen()
        self._library, self._number = kernels.library, kernels.number
        self._packed = packed
        element, layers = packed[0], packed["layers"][0]
        self.vocabulary, width = element["words"].shape
        self.longest = len(element["places"])
        self._normalizes = bool(element["normalizes"])
        # Held here: `_bert` has their address.
        self._layers = (_Layer * len(layers))(*(_layer(layer) for layer in layers))
        self._bert = _Bert(
            width=width,
            inner=layers.dtype["outer_scales"].shape[0],
            heads=int(element["heads"]),
            layer_count=len(layers),
            epsilon=float(element["epsilon"]),
            layers=self._layers,
            **{name: _address(element[name]) for name in ("words", "places", "weight", "bias")},
        )
        self._denses = [_dense(element[name]) for name in packed.dtype.names or () if name.startswith("dense")]

    def vectors(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Sentence vectors, shape (n, full dimension), of tokens, shape (n, length). The interpreter's lock is free.

        Raises:
            StudentError: The student has no such token, or no text of that length.
        """
        tokens = np.ascontiguousarray(tokens, dtype=np.int64)
        texts, length = tokens.shape
        # It would read beyond the table.
        if texts and not (0 < length <= self.longest and tokens.min() >= 0 and tokens.max() < self.vocabulary):
            raise StudentError(
                f"texts of {length} tokens up to {tokens.max(initial=0)} for a student with {self.longest} places and "
                f"{self.vocabulary} words; its tokenizer and its weights do not belong together, copy it again"
            )
        vectors = np.empty((texts, self._bert.width), dtype=np.float32)
        places = _address(tokens), texts, length, _address(vectors)
        if texts and self._library.int8_bert_pooled(self._number, self._bert, *places):
            raise MemoryError("no memory for a batch of texts")
        for dense in self._denses:
            outputs = np.empty((texts, dense.outputs), dtype=np.float32)
            self._library.int8_bert_dense(self._number, dense, _address(vectors), texts, _address(outputs))
            vectors = outputs
        if self._normalizes:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        return vectors


@dataclass(frozen=True, slots=True)
class _Kernels:
    """The kernels for some instructions.

    Attributes:
        library: The compiled library.
        digest: Hash of its file.
        number: Number by which its functions know these kernels.
        instructions: Name of the instructions.
    """

    library: Any
    digest: str
    number: int
    instructions: str


def _chosen() -> _Kernels:
    return _kernels(os.environ.get(_WANTED, ""))


@cache
def _kernels(wanted: str) -> _Kernels:
    """The kernels for the instructions that are wanted, or for the fastest ones that the CPU has."""
    usable, (library, digest) = usable_instructions(), _library()
    if wanted and wanted not in usable:
        raise RuntimeUnavailableError(
            f"{_WANTED} is {wanted!r}; expected instructions that the int8 kernels are compiled for and this CPU has: "
            f"{', '.join(usable)}"
        )
    instructions = wanted or next(iter(usable))
    return _Kernels(library, digest, usable[instructions], instructions)


@cache
def _library() -> tuple[Any, str]:
    """The compiled library, and its hash."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise RuntimeUnavailableError(
            "keydistill was installed without its int8 kernels, for want of a C compiler; install gcc and then "
            "keydistill again"
        )
    try:
        library = ctypes.CDLL(spec.origin)
        has_our_interface = library.int8_bert_interface() == _INTERFACE
        digest = file_sha256(Path(spec.origin))
    except (OSError, AttributeError) as error:
        raise RuntimeUnavailableError(
            f"the int8 kernels cannot be loaded ({error}); install keydistill again"
        ) from error
    if not has_our_interface:
        raise RuntimeUnavailableError(
            f"the int8 kernels in {spec.origin} were compiled for another version of keydistill; install it again"
        )
    library.int8_bert_instructions.restype = c_char_p
    library.int8_bert_instructions.argtypes = (c_int,)
    library.int8_bert_supported.restype = c_int
    library.int8_bert_supported.argtypes = (c_int,)
    library.int8_bert_pooled.restype = c_int
    library.int8_bert_pooled.argtypes = (c_int, POINTER(_Bert), c_void_p, c_long, c_long, c_void_p)
    library.int8_bert_dense.restype = None
    library.int8_bert_dense.argtypes = (c_int, POINTER(_Dense), c_void_p, c_long, c_void_p)
    return library, digest


def _layer(layer: Any) -> _Layer:
    return _Layer(
        **{name: _linear(layer[name]) for name in _PRODUCTS},
        **{name: _address(layer[name]) for name in layer.dtype.names if name not in _PRODUCTS},
    )


def _linear(linear: Any) -> _Linear:
    inputs, groups = 4 * linear["levels"].shape[1], len(linear["offsets"])
    return _Linear(
        inputs=inputs,
        outputs=len(linear["steps"]),
        group=inputs // groups,
        **{name: _address(linear[name]) for name in ("levels", "offsets", "steps", "bias")},
    )


def _dense(dense: Any) -> _Dense:
    inputs, outputs = dense["weights"].shape
    return _Dense(inputs, outputs, _address(dense["weights"]), _address(dense["bias"]))


def _address(array: Any) -> int:
    return int(array.ctypes.data)
