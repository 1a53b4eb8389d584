"""Whether the int8 kernels can be used here, and with which instructions."""

from keydistill.encoders.runtime.native.kernels import usable_instructions
from keydistill.errors import RuntimeUnavailableError


def why_no_kernels() -> str:
    """Why they cannot, if they cannot."""
    try:
        usable_instructions()
    except RuntimeUnavailableError as error:
        return str(error)
    return ""


# Names of the instructions that there are kernels for and that this CPU has.
USABLE: tuple[str, ...] = () if why_no_kernels() else tuple(usable_instructions())
