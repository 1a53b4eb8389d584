"""Every error that keydistill raises on purpose.

    KeydistillError                  catch this to catch all of them; its text is one line for a person
    ├── SettingsError                a setting is missing, malformed or contradicts another
    ├── InputError                   a file that was given cannot be read as what it should be
    │   ├── InputChangedError        it changed while it was being read
    │   └── TooManyRejectsError      more rows were rejected than `max_reject_share` allows
    ├── StorageError                 a folder cannot be written: full, read-only, or another process writes there
    ├── StudentError                 a student cannot be found, loaded or trusted
    │   ├── StudentMismatchError     a vector or collection belongs to another student
    │   └── RuntimeUnavailableError  a runtime cannot compute it on this machine
    ├── JudgeError                   a judge cannot be used: refused, misconfigured, without a model
    │   └── JudgeUnavailableError    its endpoint cannot be reached, or keeps failing
    ├── AssistantError               an assistant cannot be found, loaded or trusted
    ├── ModelError                   a version cannot be published in the registry of models, or read from it
    │   ├── ModelNotFoundError       there is none of that name, or none is promoted
    │   └── ModelChangedError        its files are not those that were published
    ├── TrainingError                a model cannot be trained from what was given
    ├── VectorStoreError             the engine refused or failed
    │   ├── EngineUnavailableError   it cannot be reached
    │   ├── CollectionNotFoundError
    │   ├── CollectionExistsError
    │   ├── CollectionLostError      its folder is gone or damaged
    │   ├── CollectionStateError     not allowed while building, or no more once ready
    │   ├── AliasChangedError        the alias no longer names what the caller saw
    │   └── AliasOwnedError          it belongs to another installation, or another program
    ├── ServiceError                 `keydistill serve`, as its client sees it, refused a request
    │   └── ServiceUnavailableError  it does not answer, or is overloaded
    └── RunError                     a run cannot do what was asked
        ├── RunNotFoundError
        ├── RunStateError            the table of allowed moves has no such move
        ├── RunBusyError             another process is working on it, or on the same alias
        ├── AliasHeldError           somebody stopped every swap of the alias
        ├── LeaseLostError           the process stood still for longer than its lease; somebody else may go on
        ├── RedisUnavailableError    the Redis that runs are kept in cannot be reached or used
        │   └── RedisRefusedError    it answers, and refuses the password
        ├── VerificationError        the built collection is not what the snapshot says
        └── GateRefusedError         the built collection is worse than the live one

A message says what was found, what was expected and what to do next. The command line prints it as one line and
exits with `exit_code`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


# Control characters (C0, DEL, C1), line separators, marks that reorder text, halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    r"""The text as a terminal, a table or a log may show it: control characters escaped, line ends too.

    >>> print(one_line("al\x1b[31mias\nforged line"))
    al\x1b[31mias\nforged line
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


class KeydistillError(Exception):
    """Root of all errors that are raised on purpose; anything else is a defect."""

    exit_code = 1


class SettingsError(KeydistillError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 2


class InputError(KeydistillError):
    """A file that was given cannot be read as what it should be."""


class InputChangedError(InputError):
    """An input file changed while it was being read."""


class TooManyRejectsError(InputError):
    """More rows were rejected than `max_reject_share` allows; nothing live was touched."""


class StorageError(KeydistillError):
    """A folder cannot be written: the disk is full, it is read-only, or another process writes there."""


class StudentError(KeydistillError):
    """A student cannot be found, loaded or trusted."""


class StudentMismatchError(StudentError):
    """A vector or collection belongs to another student than the one at hand."""


class RuntimeUnavailableError(StudentError):
    """A runtime cannot compute a student on this machine; another one can."""


class JudgeError(KeydistillError):
    """A judge cannot be used; judgments that it gave before are kept."""


class JudgeUnavailableError(JudgeError):
    """The endpoint of a judge cannot be reached, or keeps failing."""


class AssistantError(KeydistillError):
    """An assistant cannot be found, loaded or trusted."""


class ModelError(KeydistillError):
    """A version cannot be published in the registry of models, or read from it."""


class ModelNotFoundError(ModelError):
    """The registry has no version of that name, or none is promoted."""


class ModelChangedError(ModelError):
    """The files of a version are not those that were published."""


class TrainingError(KeydistillError):
    """A model cannot be trained from what was given."""


class VectorStoreError(KeydistillError):
    """The vector engine refused or failed."""


class EngineUnavailableError(VectorStoreError):
    """The vector engine cannot be reached."""


class CollectionNotFoundError(VectorStoreError):
    """There is no collection of that name, or the alias names none."""


class CollectionExistsError(VectorStoreError):
    """A collection or alias of that name exists already."""


class CollectionLostError(VectorStoreError):
    """The folder of a collection that the catalogue names is gone or damaged."""


class CollectionStateError(VectorStoreError):
    """The operation is not allowed while the collection is building, or no more once it is ready."""


class AliasChangedError(VectorStoreError):
    """The alias no longer names the collection that the caller saw; nothing was changed."""


class ServiceError(KeydistillError):
    """The HTTP service refused a request, or what answered is not the service."""


class ServiceUnavailableError(ServiceError):
    """The HTTP service does not answer, or is overloaded; later it may."""


class AliasOwnedError(VectorStoreError):
    """The alias belongs to another installation, or names what another program made."""


class RunError(KeydistillError):
    """A run cannot do what was asked of it."""


class RunNotFoundError(RunError):
    """There is no run of that id."""


class RunStateError(RunError):
    """The table of allowed moves has no such move."""


class RunBusyError(RunError):
    """Another process is working on this run, or builds for the same alias."""


class AliasHeldError(RunError):
    """Somebody stopped every swap of the alias; nothing was changed."""


class LeaseLostError(RunError):
    """The process stood still for longer than its lease lasts; somebody else may have gone on with the run."""


class RedisUnavailableError(RunError):
    """The Redis that runs are kept in cannot be reached or used."""


class RedisRefusedError(RedisUnavailableError):
    """The Redis that runs are kept in answers, and refuses the user or password."""


class VerificationError(RunError):
    """The built collection is not what its snapshot says it should be."""


class GateRefusedError(RunError):
    """The built collection is whole, and worse than the live one by the gate's measure; nothing live was touched."""


def first_problem(error: ValidationError) -> str:
    """The first problem of a value that is not as it should be, in one line: where it is, what it is, and why not."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place} is {first['input']!r}: {first['msg']}" if first["type"] != "missing" else f"{place} is missing"
