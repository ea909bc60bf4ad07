"""Checks each object against its kind, strictly: an unknown field is wrong.

Kubernetes' own kinds are checked by its published schemas. The schemas of custom kinds are written here, with the
fields that k8s/ uses.
"""

from typing import Any, Final

import jsonschema
import kubernetes_validate

from tests.k8s.rendering import Object

#: The oldest, a middle and the newest version of Kubernetes. 1.30 is the first with `preStop.sleep` switched on.
VERSIONS: Final = ("1.30", "1.34", "1.37")
#: Kinds of Kubernetes that k8s/ may contain: another kind is a mistake, or has to be added to this list.
BUILT_IN: Final = frozenset(
    {
        *("apps/v1/Deployment", "apps/v1/StatefulSet", "batch/v1/Job", "policy/v1/PodDisruptionBudget"),
        *("v1/ConfigMap", "v1/Namespace", "v1/Secret", "v1/Service", "v1/ServiceAccount"),
        *("networking.k8s.io/v1/Ingress", "networking.k8s.io/v1/NetworkPolicy"),
    }
)

_TEXT: Final = {"type": "string", "minLength": 1}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}


def _fields(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    every = required | (optional or {})
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": every}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


_SELECTOR: Final = _fields({"matchLabels": _TEXTS})
_SECRET_KEY: Final = _fields({"key": _TEXT}, {"property": _TEXT})
CUSTOM: Final[dict[str, dict[str, Any]]] = {
    "monitoring.coreos.com/v1/PodMonitor": _fields(
        {
            "selector": _SELECTOR,
            "podMetricsEndpoints": _list(_fields({"port": _TEXT}, {"path": _TEXT, "interval": _TEXT})),
        }
    ),
    "monitoring.coreos.com/v1/PrometheusRule": _fields(
        {
            "groups": _list(
                _fields(
                    {
                        "name": _TEXT,
                        "rules": _list(
                            _fields(
                                {"expr": _TEXT},
                                {
                                    "alert": _TEXT,
                                    "record": _TEXT,
                                    "for": _TEXT,
                                    "keep_firing_for": _TEXT,
                                    "labels": _TEXTS,
                                    "annotations": _TEXTS,
                                },
                            )
                        ),
                    },
                    {"interval": _TEXT},
                )
            )
        }
    ),
    "keda.sh/v1alpha1/ScaledObject": _fields(
        {
            "scaleTargetRef": _fields({"name": _TEXT}),
            "minReplicaCount": {"type": "integer", "minimum": 1},
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "triggers": _list(
                _fields({"type": _TEXT, "metadata": _TEXTS, "authenticationRef": _fields({"name": _TEXT})})
            ),
        },
        {
            "advanced": _fields(
                {
                    "horizontalPodAutoscalerConfig": _fields(
                        {
                            "behavior": _fields(
                                {"scaleDown": _fields({"stabilizationWindowSeconds": {"type": "integer"}})}
                            )
                        }
                    )
                }
            )
        },
    ),
    "keda.sh/v1alpha1/TriggerAuthentication": _fields(
        {"secretTargetRef": _list(_fields({"parameter": _TEXT, "name": _TEXT, "key": _TEXT}))}
    ),
    "external-secrets.io/v1/ExternalSecret": _fields(
        {
            "refreshInterval": _TEXT,
            "secretStoreRef": _fields({"kind": {"enum": ["SecretStore", "ClusterSecretStore"]}, "name": _TEXT}),
            "target": _fields({"name": _TEXT, "creationPolicy": {"enum": ["Owner", "Orphan", "Merge", "None"]}}),
        },
        {
            "data": _list(_fields({"secretKey": _TEXT, "remoteRef": _SECRET_KEY})),
            "dataFrom": _list(_fields({"extract": _SECRET_KEY})),
        },
    ),
    "kafka.strimzi.io/v1/KafkaTopic": _fields(
        {
            "partitions": {"type": "integer", "minimum": 1},
            "replicas": {"type": "integer", "minimum": 1},
            "config": {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}},
        }
    ),
    "kafka.strimzi.io/v1/KafkaUser": _fields(
        {
            "authentication": _fields({"type": {"enum": ["scram-sha-512", "tls"]}}),
            "authorization": _fields(
                {
                    "type": {"const": "simple"},
                    "acls": _list(
                        _fields(
                            {
                                "resource": _fields(
                                    {
                                        "type": {"enum": ["topic", "group", "cluster", "transactionalId"]},
                                        "name": _TEXT,
                                        "patternType": {"enum": ["literal", "prefix"]},
                                    }
                                ),
                                "operations": _list({"enum": ["Read", "Write", "Describe", "Create", "Delete", "All"]}),
                            },
                            {"host": _TEXT},
                        )
                    ),
                }
            ),
        }
    ),
}


def kind_of(one: Object) -> str:
    return f"{one.get('apiVersion')}/{one.get('kind')}"


def name_of(one: Object) -> str:
    return f"{one.get('kind')}/{one.get('metadata', {}).get('name')}"


def misfits(objects: list[Object], versions: tuple[str, ...] = VERSIONS) -> list[str]:
    """What is wrong with the objects by the schemas of their kinds."""
    found = []
    for one in objects:
        if kind_of(one) in BUILT_IN:
            for version in versions:
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    found.append(f"{name_of(one)}: Kubernetes {version}: {error}")
        elif kind_of(one) in CUSTOM:
            whole = _fields(
                {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "spec": CUSTOM[kind_of(one)]}
            )
            found += [f"{name_of(one)}: {error.json_path}: {error.message}" for error in _errors(whole, one)]
        else:
            found.append(f"{name_of(one)}: the kind {kind_of(one)} is not known here")
    return found


def _errors(schema: dict[str, Any], one: Object) -> list[jsonschema.ValidationError]:
    return list(jsonschema.Draft202012Validator(schema).iter_errors(one))
