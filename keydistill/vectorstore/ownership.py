"""Whose an alias is: several installations may share a server, and each moves its own aliases only."""

from keydistill.errors import AliasOwnedError, CollectionLostError, CollectionNotFoundError
from keydistill.vectorstore.alias_checks import check_alias_name
from keydistill.vectorstore.engine import Engine
from keydistill.vectorstore.metadata import CollectionMetadata


def check_alias_owner(engine: Engine, alias: str, installation: str) -> None:
    """Raise unless an installation may move an alias: one that names nothing yet, or what it built itself.

    Collections of versions that did not say who built them belong to everybody.

    Raises:
        AliasOwnedError: Another installation built what the alias names, or another program.
        CollectionExistsError: A collection has the alias's name.
    """
    present = engine.aliases().get(alias)
    if present is None:
        check_alias_name(alias, engine.collections())
        return
    try:
        info = engine.info(present)
    except (CollectionNotFoundError, CollectionLostError):
        # It cannot be asked whose it is, and something has to take its place.
        return
    if info.state == "foreign":
        raise _owned(alias, present, "another program made")
    owner = CollectionMetadata.parse(info).installation
    if owner not in (None, installation):
        raise _owned(alias, present, f"another installation ({owner}) built")


def _owned(alias: str, present: str, whose: str) -> AliasOwnedError:
    return AliasOwnedError(
        f"alias {alias!r} names {present!r}, which {whose}; choose another KEYDISTILL_ALIAS, or take it over with "
        "--take-over"
    )
