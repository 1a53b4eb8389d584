"""The examples of docs/scaling.md, written anew with what the commands print by the figures that come along.

    python -m benchmarks.scaling_page

To measure these figures anew: `keydistill bench --out keydistill/capacity/default_figures.json`, on an idle machine.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
EXAMPLE = re.compile(r"^```console\n\$ (keydistill plan [^\n]+)\n(.+?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run each command in an empty home and put its output in place."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(EXAMPLE.sub(_printed, text), encoding="utf-8")


def _printed(match: re.Match[str]) -> str:
    command = match[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYDISTILL_")}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "keydistill.cli.main", *command.split()[1:]],
            env={**kept, "KEYDISTILL_HOME": home},
            capture_output=True,
            text=True,
            check=True,
        )
    return f"```console\n$ {command}\n{done.stdout}```"


if __name__ == "__main__":
    main()
