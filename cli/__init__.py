"""The command line: one file per command or group, each of which parses, calls and prints."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")
