"""Holds every manifest under assets/ against Kubernetes' schemas and Argo's types.

Usage: check_manifests.py ASSETS_DIRECTORY. Exits 1 and names every fault.

Kubernetes' schemas (kubernetes-validate, strict: an unknown field is a fault) judge the plain resources, and every container
that stands inside something else: in plugin.yaml, in the ConfigMap's text, in a template, in podSpecPatch. Argo's types, as
the Hera SDK generates them from Argo's API, judge Workflows, CronWorkflows and their templates: a field that does not survive the way
through the types is one that Argo does not know.
"""

import pathlib
import sys

import kubernetes_validate
import yaml
from hera.workflows import models as argo

# One that old clusters still run, and the newest that this judge knows.
VERSIONS = ("1.30", "1.36")
# Fields that Argo keeps as free JSON, or that are newer than the SDK's types.
FREE = {"plugin", "executorPlugins", "podSpecPatch", "supplied"}

WORKFLOWS = {
    "Workflow": argo.Workflow,
    "WorkflowTemplate": argo.WorkflowTemplate,
    "ClusterWorkflowTemplate": argo.ClusterWorkflowTemplate,
    "CronWorkflow": argo.CronWorkflow,
}

faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def kubernetes(where, resource):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            fault(where, f"Kubernetes {version}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            fault(where, f"{error.message}; a custom resource needs a judge of its own here")


def pod(where, containers, **spec):
    """Containers as the pod that they end in."""
    kubernetes(where, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent"},
                       "spec": {"containers": containers, **spec}})


def lost(given, kept, path=""):
    """Paths that are in one value and not in the other."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key in FREE:
                continue
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key}"
            else:
                yield from lost(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            entry = kept[index] if isinstance(kept, list) and index < len(kept) else None
            yield from lost(value, entry, f"{path}[{index}]")


def workflow(where, manifest, model):
    try:
        kept = model.model_validate(manifest).model_dump(by_alias=True, exclude_unset=True, mode="json")
    except ValueError as error:
        fault(where, f"not Argo's type: {error}")
        return
    for path in lost(manifest, kept):
        fault(where, f"Argo knows no {path}")
    spec = manifest["spec"]
    spec = spec.get("workflowSpec", spec)
    for template in spec.get("templates", []):
        if "container" in template:
            pod(f"{where} template {template['name']}", [{"name": "main", **template["container"]}])
    for plugin in spec.get("executorPlugins", []):
        pod(f"{where} executorPlugins", [plugin["spec"]["sidecar"]["container"]])
    if "podSpecPatch" in spec:
        patch = yaml.safe_load(spec["podSpecPatch"])
        patched = [{"image": "any", **container} for container in patch.pop("containers", [])]
        pod(f"{where} podSpecPatch", patched, **patch)


def check(path):
    count = 0
    for index, manifest in enumerate(yaml.safe_load_all(path.read_text())):
        if manifest is None:
            continue
        count += 1
        kind = manifest["kind"]
        where = f"{path}[{index}] {kind}"
        if kind == "ExecutorPlugin":
            pod(where, [manifest["spec"]["sidecar"]["container"]])
        elif kind in WORKFLOWS:
            workflow(where, manifest, WORKFLOWS[kind])
        else:
            kubernetes(where, manifest)
            if kind == "ConfigMap" and "sidecar.container" in manifest["data"]:
                pod(where, [yaml.safe_load(manifest["data"]["sidecar.container"])])
    if count == 0:
        fault(path, "holds no manifest")
    return count


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).rglob("*.yaml"))
    total = sum(check(path) for path in paths)
    for text in faults:
        print(text)
    print(f"{total} manifests in {len(paths)} files, {len(faults)} faults")
    sys.exit(1 if faults or total == 0 else 0)


main()
