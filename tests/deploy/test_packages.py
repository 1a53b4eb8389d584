"""Packages: constraints that name all of them, locks that have each file's hash, the tools that look at them."""

import sys
import tomllib
from importlib.metadata import requires
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def constraints() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def own_requirements() -> list[Requirement]:
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    # The extra `all` asks for other extras.
    return [requirement for requirement in requirements if requirement.name != PROJECT["project"]["name"]]


def test_constraints_fit_what_we_ask_for() -> None:
    pinned = constraints()
    for requirement in own_requirements():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.skipif(sys.version_info[:2] != (3, 11) or sys.platform != "linux", reason="pins are for 3.11 on Linux")
def test_constraints_pin_everything_that_is_installed_with_it() -> None:
    pinned = constraints()
    seen: set[str] = set()
    waiting = own_requirements()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} stands in no line of constraints.txt"
        # torch's own depend on its build: CUDA's packages come with some.
        if str(requirement) in seen or name == "torch":
            continue
        seen.add(str(requirement))
        for text in requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)


def test_the_server_is_of_the_version_of_its_client() -> None:
    client = next(one for one in own_requirements() if one.name == "qdrant-client")
    assert client.specifier.contains(SERVICES["qdrant"]["image"].partition(":v")[2].removesuffix("-unprivileged"))
