"""A folder that is either complete or not there.

Everything is written into a folder beside it, `.NAME.partial-XXXX`, whose name and missing manifest say that it is not
complete. One rename puts it in place. A process that is killed leaves at most such a folder behind.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import InputError

MANIFEST = "simulation.json"


def check_target(out: Path, force: bool) -> None:
    """Refuse to write over what is not ours.

    Raises:
        InputError: `out` holds something, and either `force` is not set or it is no simulated marketplace.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder; name a folder that does not exist yet")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise InputError(f"{out} is not empty; name another folder, or replace a marketplace with --force")
    if not (out / MANIFEST).is_file():
        raise InputError(
            f"{out} is not empty and holds no {MANIFEST}, so it is no simulated marketplace and --force does not "
            f"replace it; remove it yourself or name another folder"
        )


@contextmanager
def complete_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and vanishes when it does not.

    Raises:
        InputError: See `check_target`; or the folder cannot be made or put in place.
    """
    check_target(out, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        # mkdtemp lets only the owner in; a marketplace is as open as any other folder.
        partial.chmod(0o777 & ~_umask())
    except OSError as error:
        raise InputError(f"cannot write beside {out}: {error.strerror}; name a folder you may write") from error
    try:
        yield partial
        check_target(out, force)
        _replace(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _replace(partial: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        # Renaming over an empty folder is one step; over one that was filled meanwhile it fails.
        os.rename(partial, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.replaced-", dir=out.parent))
    os.rename(out, old)
    try:
        os.rename(partial, out)
    except BaseException:
        os.rename(old, out)
        raise
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
