"""The Helm chart, rendered by Helm's own engine."""

from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support.helm import helm_of
from tests.support.places import ROOT

CHART = ROOT / "deploy/helm/keydistill"
RELEASE = "shop"
Manifest = dict[str, Any]


def values_of(name: str) -> dict[str, Any]:
    """The values of a file in the chart's `ci` folder."""
    values: dict[str, Any] = yaml.safe_load((CHART / f"ci/{name}-values.yaml").read_text())
    return values


def with_value(values: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the values with one changed, named as `helm --set` names it."""
    name, _, rest = path.partition(".")
    return {**values, name: with_value(values.get(name) or {}, rest, value) if rest else value}


def render(values: Mapping[str, Any], release: str = RELEASE) -> list[Manifest]:
    """What `helm install` would create.

    Raises:
        HelmRefusalError: The schema refuses the values.
    """
    files = helm_of(CHART).ask(what="render", values=dict(values), release=release)
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def named(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Manifests of one kind by their component."""
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Templates of pods by their component."""
    workloads = {**named(manifests, "Deployment"), **named(manifests, "StatefulSet")}
    return {component: workload["spec"]["template"] for component, workload in workloads.items()}


def environment(pod: Manifest) -> dict[str, Any]:
    """Names of a pod's variables with their values, or with the secret that has them as (name, key)."""
    (container,) = pod["spec"]["containers"]
    variables = {}
    for variable in container["env"]:
        assert variable["name"] not in variables, f"{variable['name']} stands there twice"
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        variables[variable["name"]] = (reference["name"], reference["key"]) if reference else variable["value"]
    return variables
