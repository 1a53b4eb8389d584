"""The product's commands, as a user calls them: each in a process of its own."""

import os
import subprocess
import sys


def keydistill(*arguments: object, **environment: str) -> str:
    """What `keydistill ARGUMENTS` prints.

    Args:
        arguments: Of the command line.
        environment: Settings, as KEYDISTILL_... variables.

    Raises:
        SystemExit: The command failed; its error stands above.
    """
    done = subprocess.run(
        [sys.executable, "-m", "keydistill.cli.main", *map(str, arguments)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"keydistill {' '.join(map(str, arguments))} failed")
    return done.stdout
