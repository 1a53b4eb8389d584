"""The write path: inventories become snapshots, snapshots become collections."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")
