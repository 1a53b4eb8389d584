"""The compose files as an implementation of compose reads them: variables replaced, or refused."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support.places import ROOT

BASE = ROOT / "docker-compose.yml"
TLS = ROOT / "docker-compose.tls.yml"
SERVICES: dict[str, Any] = yaml.safe_load(BASE.read_text())["services"]
TLS_SERVICES: dict[str, Any] = yaml.safe_load(TLS.read_text())["services"]
PROFILES = ("workers", "serve", "monitoring", "flower", "celery-exporter")
SECRETS = {
    "KEYDISTILL_QDRANT_API_KEY": "writes",
    "KEYDISTILL_QDRANT_READ_ONLY_API_KEY": "reads",
    "REDIS_PASSWORD": "orders",
    "GRAFANA_PASSWORD": "looks",
    "FLOWER_BASIC_AUTH": "somebody:looks",
    "KEYDISTILL_SERVE_KEYS": '{"shop": "0"}',
}


def has_docker_compose() -> bool:
    """Whether Docker's own implementation is installed; its daemon is not needed."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def podman_compose(folder: Path, environment: Mapping[str, str], *files: Path) -> subprocess.CompletedProcess[str]:
    """`config` of podman-compose. It asks podman for its version, and for nothing else: a script answers."""
    podman = folder / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.6.0\n")
    podman.chmod(0o755)
    return _config([sys.executable, "-m", "podman_compose"], {**environment, "PATH": f"{folder}:/usr/bin:/bin"}, files)


def docker_compose(folder: Path, environment: Mapping[str, str], *files: Path) -> subprocess.CompletedProcess[str]:
    """`config` of Docker's compose."""
    path = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(folder))}
    return _config(["docker", "compose", "--env-file", os.devnull], {**environment, **path}, files)


def _config(
    command: list[str], environment: Mapping[str, str], files: tuple[Path, ...]
) -> subprocess.CompletedProcess[str]:
    named = [part for file in files for part in ("--file", str(file))]
    profiles = [part for profile in PROFILES for part in ("--profile", profile)]
    return subprocess.run(
        [*command, *named, *profiles, "config"], env=environment, capture_output=True, text=True, check=False
    )


def services(text: str) -> dict[str, Any]:
    """The services of what `config` printed."""
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def with_defaults(text: str) -> str:
    """A text of the compose file as it is read where no variable is set."""
    return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text)
