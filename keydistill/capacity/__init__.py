"""How large a machine an inventory wants: figures that are measured, plans made of them, a rebuild played through."""

from keydistill.capacity.bench import measure
from keydistill.capacity.figures import Figures, default_figures, figures_file, read_figures, write_figures
from keydistill.capacity.plan import HEADROOM, Capacity, Wanted, plan_capacity, wanted_of
from keydistill.capacity.rebuild import Rebuild, simulate_rebuild

__all__ = [
    "HEADROOM",
    "Capacity",
    "Figures",
    "Rebuild",
    "Wanted",
    "default_figures",
    "figures_file",
    "measure",
    "plan_capacity",
    "read_figures",
    "simulate_rebuild",
    "wanted_of",
    "write_figures",
]
