"""Packages: constraints that name all of them, locks that have each file's hash, the tools that look at them."""

import re
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.compose_files import SERVICES
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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
    missing = needed_by(own_requirements()) - set(constraints())
    assert not missing, f"{sorted(missing)} stand in no line of constraints.txt"


def needed_by(waiting: list[Requirement]) -> set[str]:
    """Names of what these lead to here, themselves included."""
    seen: set[str] = set()
    names: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        names.add(name)
        # torch's own depend on its build: CUDA's packages come with some.
        if str(requirement) in seen or name == "torch":
            continue
        seen.add(str(requirement))
        for text in requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return names


def test_the_server_is_of_the_version_of_its_client() -> None:
    client = next(one for one in own_requirements() if one.name == "qdrant-client")
    assert client.specifier.contains(SERVICES["qdrant"]["image"].partition(":v")[2].removesuffix("-unprivileged"))


LOCKS = {path.stem: path.read_text() for path in (ROOT / "deploy/locks").glob("*.txt")}


def locked(name: str) -> dict[str, str]:
    """Packages of a lock with their versions; each has at least one hash."""
    entries = re.findall(
        r"^([a-z0-9._-]+)==(\S+)[^\n]*((?:\\\n    --hash=sha256:[0-9a-f]{64}[^\n]*?)+)$", LOCKS[name], re.MULTILINE
    )
    named = re.findall(r"^([a-z0-9._-]+)==", LOCKS[name], re.MULTILINE)
    assert [package for package, *_ in entries] == named, "a package without a hash"
    return {canonicalize_name(package): version for package, version, _ in entries}


def test_the_service_image_keeps_its_size() -> None:
    """By the files of the packages here, which are of the same versions; bytecode and the base image come on top."""
    size = 0
    for name in locked("service"):
        with suppress(PackageNotFoundError):
            for file in distribution(name).files or ():
                path = Path(str(file.locate()))
                # The Dockerfile takes these away, or makes them of what is imported alone.
                left_out = "__pycache__" in path.parts or re.search("^pyarrow/(include|src|tests)/|flight", str(file))
                if not left_out and path.is_file():
                    size += path.stat().st_size
    # docs/deploy.md has what was measured by the Dockerfile's recipe: 500 MB are for all of it without weights.
    assert 250e6 < size < 335e6


def closure(extras: set[str]) -> set[str]:
    """Names of what an installation with these extras gets here, without torch's own."""
    project = PROJECT["project"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    waiting += [Requirement(text) for extra in extras for text in project["optional-dependencies"][extra]]
    return needed_by(waiting) - {"torch"}


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_a_lock_has_the_versions_of_the_constraints(name: str) -> None:
    pinned = constraints()
    packages = locked(name)
    assert packages
    for package, version in packages.items():
        assert pinned.get(package, version) == version, f"{package}: run `make lock`"


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("service", {"serve", "otel"}),
        ("worker", {"build", "train", "judge", "serve", "workers", "weights", "openvino", "otel", "flower"}),
    ],
)
def test_a_lock_has_everything_that_its_image_imports(name: str, extras: set[str]) -> None:
    packages = set(locked(name))
    assert closure(extras) <= packages, "run `make lock`"
    # On a CPU these come from elsewhere, and the service has no use for them.
    assert not {package for package in packages if re.match("torch$|triton|nvidia|cuda", package)}
    assert "torch" in locked("torch-cuda")


def test_images_install_nothing_without_a_hash_but_the_cpu_wheel_of_torch() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install ((?:[^\n&|]|\\\n)+)", (ROOT / "Dockerfile").read_text())
    assert len(installs) >= 8
    for arguments in installs:
        assert "--no-deps" in arguments
        assert "--require-hashes" in arguments or "/wheels/" in arguments or "torch-cpu.txt" in arguments
