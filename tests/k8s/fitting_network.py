"""Checks that each pod reaches what it needs, that nothing else is open to it, and who reaches the pod."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from consumer import config
from tests.k8s.fitting import COMPONENT, NAME, labels_of, of_kind, selects, workloads
from tests.k8s.kinds import name_of
from tests.k8s.rendering import Object

_NAMESPACE: Final = "kubernetes.io/metadata.name"
#: Addresses of clouds' metadata services and of the cluster itself are among them.
PRIVATE: Final = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"]
#: The roles and Jobs that call Mirakl or the OMS, and those that use Kafka.
CALLS_REMOTES: Final = ("worker", "poller", "doctor")
USES_KAFKA: Final = (*CALLS_REMOTES, "consumer", "web")
ANY: Final = "any"

#: Direction, peer, protocol and port of a connection that is allowed.
Flow = tuple[str, str, str, str]


def _peer(peer: Any) -> str:
    return json.dumps(peer, sort_keys=True)


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}}


DNS: Final = {**_namespace("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}


_TO_DNS: Final = {("egress", _peer(DNS), protocol, "53") for protocol in ("UDP", "TCP")}


def allowed(objects: list[Object], labels: dict[str, str]) -> set[Flow]:
    """Everything that the policies of a pod with these labels allow together."""
    found: set[Flow] = set()
    for one in of_kind(objects, "NetworkPolicy"):
        if not selects(one["spec"]["podSelector"], labels):
            continue
        for way, end in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"].get(way, ()):
                peers = [_peer(peer) for peer in rule.get(end, ())] or [ANY]
                ports = [(port.get("protocol", "TCP"), str(port["port"])) for port in rule.get("ports", ())]
                found |= {(way, peer, *port) for peer in peers for port in ports or [(ANY, ANY)]}
    return found


def needed(component: str, settings: config.Settings) -> set[Flow]:
    """Everything that a pod of this component needs, where operators provide Kafka, monitoring and the way in."""
    kafka_host, _, kafka_port = settings.kafka.bootstrap_servers[0].partition(":")
    store = re.search(r"@([^/:]+)", settings.store.url)
    assert store is not None
    flows = {*_TO_DNS}
    flows.add(("egress", _peer(_namespace(store.group(1).split(".")[-1])), "TCP", "5432"))
    flows.add(("ingress", _peer(_namespace("monitoring")), "TCP", "http"))
    if component in USES_KAFKA:
        flows.add(("egress", _peer(_namespace(kafka_host.split(".")[-1])), "TCP", kafka_port))
    if component in CALLS_REMOTES:
        flows.add(("egress", _peer({"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE}}), "TCP", "443"))
    if component == "web":
        flows.add(("ingress", _peer(_namespace("ingress-nginx")), "TCP", "callbacks"))
    return flows


def network(objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Connections that a pod needs and may not make, and connections that it does not need."""
    for one in workloads(objects):
        have, want = allowed(objects, labels_of(one)), needed(labels_of(one)[COMPONENT], settings)
        yield from (f"{name_of(one)}: nothing allows {flow}" for flow in sorted(want - have))
        yield from (f"{name_of(one)}: not needed, but allowed: {flow}" for flow in sorted(have - want))
    strangers = allowed(objects, {NAME: "another"})
    if strangers:
        yield f"pods that are not of orderflow are allowed {sorted(strangers)}"


def names_are_found(objects: list[Object]) -> Iterator[str]:
    """A pod that cannot ask for the address of a name."""
    for one in workloads(objects):
        if _TO_DNS - allowed(objects, labels_of(one)):
            yield f"{name_of(one)}: no NetworkPolicy lets it reach the DNS"


def ways_in(objects: list[Object]) -> Iterator[str]:
    """A Service or an Ingress that lets more in than callbacks, or without TLS."""
    for one in of_kind(objects, "Service"):
        if {port["targetPort"] for port in one["spec"]["ports"]} != {"callbacks"}:
            yield f"{name_of(one)}: publishes another port than that of callbacks"
        if one["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{name_of(one)}: is reached from outside, past the Ingress"
    for one in of_kind(objects, "Ingress"):
        if not all(tls.get("secretName") for tls in one["spec"].get("tls", [{}])):
            yield f"{name_of(one)}: names no Secret with a certificate"
