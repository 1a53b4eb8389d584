"""The words of the simulated marketplace: goods, brands, and their attributes."""

from keydistill.simulation.wording.catalogue import (
    ABSENT,
    ATTRIBUTES,
    FIT,
    MOST_CONSTRAINTS,
    OWN,
    SLOT,
    SLOTS,
    Catalogue,
    Choice,
    CompiledProduct,
    Values,
    compile_catalogue,
)

__all__ = [
    "ABSENT",
    "ATTRIBUTES",
    "FIT",
    "MOST_CONSTRAINTS",
    "OWN",
    "SLOT",
    "SLOTS",
    "Catalogue",
    "Choice",
    "CompiledProduct",
    "Values",
    "compile_catalogue",
]
