"""Orders: what a person, a schedule or a service asks for, checked before there is a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keydistill.errors import InputError
from keydistill.settings import NAME, Settings


class Order(BaseModel):
    """The options of a command; those that are None are left to the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read an order.

        Raises:
            InputError: A value is malformed or missing, or has an unknown name.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{cls.kind}, {name!r}: {first['msg']}; it takes {', '.join(cls.model_fields)}") from None

    def paths(self) -> list[Path]:
        """The files and folders that it names."""
        values = [getattr(self, name) for name in type(self).model_fields]
        each = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
        return [one for one in each if isinstance(one, Path)]

    def check_message(self, settings: Settings) -> None:
        """See that an order which came by message names only what the settings allow.

        Raises:
            InputError: It names a file or folder elsewhere.
        """
        if settings.order_paths is None:
            return
        folders = [folder.resolve() for folder in settings.order_paths]
        for path in self.paths():
            if not any(path.resolve().is_relative_to(folder) for folder in folders):
                raise InputError(
                    f"{self.kind}: {path} is in none of the folders that orders by message may name "
                    f"({', '.join(map(str, settings.order_paths)) or 'none'}); see the setting order_paths"
                )


class ReindexOrder(Order):
    """The options of `keydistill reindex`."""

    kind: ClassVar[str] = "reindex"

    files: tuple[Path, ...] = Field(min_length=1)
    categories: Path | None = None
    student: str | None = None
    dimension: int | None = Field(default=None, ge=1)
    max_reject_share: float | None = Field(default=None, ge=0, le=1)
    alias: str | None = Field(default=None, pattern=NAME)
    swap: bool = True

    def paths(self) -> list[Path]:
        """See `Order.paths`; a student may be one of them."""
        student = [Path(self.student)] if self.student and Path(self.student).expanduser().is_dir() else []
        return [*super().paths(), *student]


class SyncOrder(Order):
    """The options of `keydistill sync`."""

    kind: ClassVar[str] = "sync"

    files: tuple[Path, ...] = Field(min_length=1)
    categories: Path | None = None
    max_reject_share: float | None = Field(default=None, ge=0, le=1)
    max_removed_share: float | None = Field(default=None, ge=0, le=1)
    alias: str | None = Field(default=None, pattern=NAME)


class PruneOrder(Order):
    """The options of `keydistill collections prune`."""

    kind: ClassVar[str] = "prune"

    keep: int = Field(default=1, ge=0)
    why: str | None = None
    alias: str | None = Field(default=None, pattern=NAME)
