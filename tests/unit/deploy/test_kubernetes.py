"""The manifests in `docker/kubernetes` fit Kubernetes' schemas, and say what settings and the compose file say."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lakehouse.settings import Settings

FOLDER = Path(__file__).parents[3] / "docker" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


def manifests() -> list[Any]:
    return [
        pytest.param(manifest, id=f"{manifest['kind']}-{manifest['metadata']['name']}")
        for name in KUSTOMIZATION["resources"]
        for manifest in yaml.safe_load_all((FOLDER / name).read_text())
    ]


@pytest.mark.parametrize("manifest", manifests())
def test_the_manifest_fits_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dada": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_part_of_the_kustomization() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )


def test_the_config_map_sets_only_settings_that_exist() -> None:
    config = next(yaml.safe_load_all((FOLDER / "settings.yaml").read_text()))
    assert {name.lower() for name in config["data"]} <= set(Settings.model_fields)
    Settings(_env_file=None, **{name.lower(): value for name, value in config["data"].items()})  # type: ignore[call-arg]


def test_every_process_is_bounded_and_sees_no_settings_but_its_own() -> None:
    deployments = [p.values[0] for p in manifests() if p.values[0]["kind"] == "Deployment"]
    assert {d["metadata"]["name"] for d in deployments} == {"producer", "consumer", "predictor", "score", "api"}
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert pod["enableServiceLinks"] is False, "a Service api would set API_PORT"
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
