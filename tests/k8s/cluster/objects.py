"""Objects that the checks add: definitions of custom kinds, a quota, a policy, and what an operator would make."""

from typing import Any

from tests.k8s.kinds import CUSTOM
from tests.k8s.rendering import Object

#: Where the API of external metrics is, which the autoscaler asks.
METRICS_GROUP = "external.metrics.k8s.io"


def definition(kind: str, schema: dict[str, Any]) -> Object:
    """The CustomResourceDefinition of a custom kind, with our own schema of it."""
    group, version, name = kind.split("/")
    plural = f"{name.lower()}s"
    whole = {"type": "object", "properties": {"spec": _structural(schema)}, "required": ["spec"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": name, "plural": plural, "singular": name.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}],
        },
    }


def definitions() -> list[Object]:
    return [definition(kind, schema) for kind, schema in CUSTOM.items()]


def _structural(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as the API server takes it. It refuses unknown fields by itself."""
    found = {key: value for key, value in schema.items() if key != "additionalProperties"}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if "enum" in found:
        found["type"] = "string"
    if isinstance(found.get("type"), list):
        return {"x-kubernetes-preserve-unknown-fields": True}
    if "properties" in found:
        found["properties"] = {name: _structural(one) for name, one in found["properties"].items()}
    elif isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _structural(schema["additionalProperties"])
    if "items" in found:
        found["items"] = _structural(found["items"])
    return found


def secrets_of(objects: list[Object], namespace: str) -> list[Object]:
    """The Secrets that the operator of External Secrets would make."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": one["spec"]["target"]["name"], "namespace": namespace},
            "stringData": {"unused": "unused"},
        }
        for one in objects
        if one["kind"] == "ExternalSecret"
    ]


def quota(namespace: str, pods: int) -> Object:
    """A quota of the namespace. With it each container needs requests."""
    hard = {"pods": str(pods), "requests.cpu": "4", "requests.memory": "8Gi", "limits.memory": "8Gi"}
    meta = {"name": "all", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}


def by_digest_only(namespace: str) -> list[Object]:
    """An admission policy of the cluster: in this namespace images are named by their digest."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}
    expression = "object.spec.containers.all(c, c.image.contains('@sha256:'))"
    names = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": expression, "message": "an image has to be named by its digest"}],
    }
    binding = {
        "policyName": "by-digest",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": names},
    }
    api, name = "admissionregistration.k8s.io/v1", {"name": "by-digest"}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": policy},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name, "spec": binding},
    ]


def autoscaler(scaled: Object, namespace: str) -> Object:
    """The HorizontalPodAutoscaler that KEDA makes of a ScaledObject; the scale-down waits two seconds, not minutes."""
    spec = scaled["spec"]
    metrics = [
        {
            "type": "External",
            "external": {
                "metric": {"name": f"s{number}-kafka-{trigger['metadata']['topic'].replace('.', '-')}"},
                "target": {"type": "AverageValue", "averageValue": trigger["metadata"]["lagThreshold"]},
            },
        }
        for number, trigger in enumerate(spec["triggers"])
    ]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"keda-hpa-{scaled['metadata']['name']}", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec["scaleTargetRef"]["name"]},
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "metrics": metrics,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 2}},
        },
    }


def metrics_api(port: int) -> list[Object]:
    """The API of external metrics, as KEDA registers it, at a port of this machine."""
    where = {"name": "metrics", "namespace": "keda"}
    service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    spec = {
        "group": METRICS_GROUP,
        "version": "v1beta1",
        "service": where | {"port": port},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": service},
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{METRICS_GROUP}"},
            "spec": spec,
        },
    ]
