"""A contract for import-linter: of another room only what its package exports is imported."""

from collections.abc import Iterable
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ExportsContract(Contract):
    """Every module is private to its room.

    A room is a package. Its modules are imported by themselves and by the rooms inside it; everybody else imports the
    room, which exports what others may use. Exceptions are listed with the configuration, each with its reason.

    Attributes:
        public_modules: Modules that others import by their own names.
    """

    public_modules = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every import of the graph."""
        public = set(cast(Iterable[str], self.public_modules or ()))
        unknown = sorted(public - graph.modules)
        bypasses = sorted(
            (importer, module)
            for module in graph.modules - public
            if not graph.find_children(module)
            for importer in graph.find_modules_that_directly_import(module)
            if not _is_inside(importer, module.rpartition(".")[0])
        )
        return ContractCheck(kept=not bypasses and not unknown, metadata={"bypasses": bypasses, "unknown": unknown})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say which imports go round the exports."""
        for importer, module in check.metadata["bypasses"]:
            room = module.rpartition(".")[0]
            output.print_error(f"{importer} imports {module}; import what {room} exports, or export what is missing")
        for module in check.metadata["unknown"]:
            output.print_error(f"{module} is listed among the public modules, and there is none of that name")


def _is_inside(module: str, room: str) -> bool:
    # The root of the package is no room: its modules are everybody's.
    return "." not in room or module == room or module.startswith(f"{room}.")
