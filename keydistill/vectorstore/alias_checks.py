"""What both engines check before an alias is moved."""

from collections.abc import Container

from keydistill.errors import AliasChangedError, CollectionExistsError


def check_alias_name(alias: str, collections: Container[str]) -> None:
    """Raise where a collection has the alias's name.

    Raises:
        CollectionExistsError: One has.
    """
    if alias in collections:
        raise CollectionExistsError(f"{alias!r} is a collection and cannot be an alias too; rename one")


def check_alias_target(alias: str, present: str | None, expected: str | None) -> None:
    """Raise unless an alias names what the caller saw last; None: nothing.

    Raises:
        AliasChangedError: It names something else.
    """
    if present != expected:
        raise AliasChangedError(
            f"alias {alias!r} names {present!r}, expected {expected!r}: somebody else swapped it; look at "
            "`keydistill collections list`, then start again"
        )
