"""API keys of the service: several, with names, of which only hashes are kept, and which change while it runs.

A key is 256 random bits, so that its plain SHA-256 is as good as a slow hash: nobody can try that many keys, and there
is no password that a dictionary would have. And the hash is computed for every request, where a slow one would cost
more than the answer.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from keydistill.errors import SettingsError
from keydistill.files import NewerFormatError, file_lock, replace_json, stamped, without_stamp
from keydistill.settings import NAME, Settings

_log = logging.getLogger(__name__)

_FORMAT = 1
_HASH = re.compile("[0-9a-f]{64}")
_PREFIX = "kd_"
# Time between two looks at the file.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is kept.

    Attributes:
        sha256: SHA-256 of the key, in hex.
        created: Time at which it was made, as ISO 8601.
    """

    sha256: str
    created: str


class KeyFile:
    """The file of keys; every change replaces it whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The file that the settings name."""
        return cls(settings.serve_keys_file or settings.home / "serve-keys.json")

    def read(self) -> dict[str, KeyEntry]:
        """The keys by their names; none where there is no file.

        Raises:
            SettingsError: The file cannot be read.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self.path} cannot be read ({_reason(error)}); expected the keys that `keydistill serve keys new` "
                "wrote: correct or remove it"
            ) from None
        try:
            entries = without_stamp(content, _FORMAT)["keys"]
            keys = {name: KeyEntry(entry["sha256"], entry["created"]) for name, entry in entries.items()}
            if not all(_HASH.fullmatch(entry.sha256) for entry in keys.values()):
                raise ValueError("a hash is not 64 hexadecimal digits")
        except NewerFormatError as error:
            raise SettingsError(f"{self.path} {error}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SettingsError(
                f"{self.path} is not a file of keys ({_reason(error)}); write it with `keydistill serve keys new`"
            ) from None
        return keys

    def add(self, name: str) -> str:
        """Make a key, and keep its hash.

        Returns:
            The key, which is kept nowhere.

        Raises:
            SettingsError: The name is taken, or no name; or the file cannot be read.
        """
        if not re.fullmatch(NAME, name):
            raise SettingsError(f"{name!r} is no name for a key; expected letters, digits, dots, dashes, underscores")
        key = _PREFIX + secrets.token_urlsafe(32)
        with self._changing() as keys:
            if name in keys:
                raise SettingsError(f"there is a key {name!r} already; choose another name, or remove it first")
            keys[name] = KeyEntry(sha256(key), datetime.now(UTC).isoformat(timespec="seconds"))
        return key

    def remove(self, name: str) -> None:
        """Forget a key: a running service refuses it within a second or two.

        Raises:
            SettingsError: There is no such key; or the file cannot be read.
        """
        with self._changing() as keys:
            if name not in keys:
                raise SettingsError(f"there is no key {name!r} in {self.path}; `keydistill serve keys list` shows all")
            del keys[name]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, KeyEntry]]:
        """The keys, to be changed under a lock; written when the block ends well."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.with_name(f".{self.path.name}.lock")):
            keys = self.read()
            yield keys
            replace_json(self.path, stamped(_FORMAT, {"keys": {name: asdict(entry) for name, entry in keys.items()}}))


class Keys:
    """The keys that open the service: those of the settings, and those of the file, which is read when it changes."""

    def __init__(self, fixed: Mapping[str, str], file: KeyFile, *, required: bool) -> None:
        """Read the file.

        Args:
            fixed: SHA-256 by name, of the settings.
            file: File of further keys.
            required: Whether a key is needed even where there is none; without, no key is needed until there is one.

        Raises:
            SettingsError: The file cannot be read.
        """
        self._fixed, self._file = dict(fixed), file
        self._seen = self._stamp()
        self._hashes = self._all(file.read())
        # Who began with keys does not become open because they vanish.
        self.required = required or bool(self._hashes)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._looking = threading.Lock()

    def name_of(self, key: str) -> str | None:
        """The name of a key; None where it opens nothing."""
        self._look()
        digest = sha256(key)
        # Every hash is compared, each in constant time.
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(known, digest)]
        return names[0] if names else None

    def hash_of(self, name: str) -> str | None:
        """The hash of the key with a name; None where there is no such key."""
        self._look()
        return self._hashes.get(name)

    def needed(self) -> bool:
        """Whether a request needs a key."""
        self._look()
        return self.required

    def _look(self) -> None:
        if time.monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            self._hashes = self._all(self._file.read())
            self.required = self.required or bool(self._hashes)
            _log.info("API keys: %d are known now", len(self._hashes))
        except SettingsError as error:
            _log.warning("API keys: %s; those from before go on", error)
        finally:
            self._looking.release()

    def _all(self, entries: Mapping[str, KeyEntry]) -> dict[str, str]:
        return {**{name: entry.sha256 for name, entry in entries.items()}, **self._fixed}

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._file.path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def sha256(key: str) -> str:
    """The hash of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error) or type(error).__name__
