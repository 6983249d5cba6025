"""What can be said of Kubernetes manifests without a cluster: that their parts name each other correctly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from waypost import create_app, load_config

__all__ = ["check_manifest"]


def check_manifest(objects: list[dict[str, Any]], directory: Path) -> None:
    """`directory` is where the configuration of the ConfigMap is written to be checked."""
    assert all({"apiVersion", "kind", "metadata"} <= set(each) for each in objects)
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}

    (service,) = (each for each in objects if each["kind"] == "Service")
    assert service["spec"]["selector"].items() <= labels.items()
    assert all(each["targetPort"] in ports for each in service["spec"]["ports"])

    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounts) == set(volumes)
    (name,) = volumes
    data = by_name["ConfigMap", volumes[name]["configMap"]["name"]]["data"]
    (config,) = (Path(each) for each in container["args"] if each.endswith(".yaml"))
    assert config.parent.as_posix() == mounts[name]
    path = directory / "from-config-map.yaml"
    path.write_text(data[config.name], encoding="utf-8")
    loaded = load_config(path)
    create_app(loaded)
    assert loaded.listen.port == ports["http"]
    assert loaded.keys, "other hosts can connect"

    for probe, asked in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": asked, "port": "http"}
    patience = container["lifecycle"]["preStop"]["sleep"]["seconds"] + loaded.limits.drain
    assert pod["spec"]["terminationGracePeriodSeconds"] > patience

    for each in container.get("env", []):
        reference = each["valueFrom"]["secretKeyRef"]
        assert reference["key"] in by_name["Secret", reference["name"]]["stringData"]
    assert yaml.safe_dump(objects)
