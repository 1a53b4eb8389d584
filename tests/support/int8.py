"""Whether the int8 kernels can be used here."""

from keydistill.encoders.runtime.native.kernels import int8_kernels_version
from keydistill.errors import RuntimeUnavailableError


def why_no_kernels() -> str:
    """Why they cannot, if they cannot."""
    try:
        int8_kernels_version()
    except RuntimeUnavailableError as error:
        return str(error)
    return ""
