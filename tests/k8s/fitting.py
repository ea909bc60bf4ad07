"""Checks that the rendered objects fit each other and the program.

Without these checks, a mistake shows only when the pods do not start.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import typer.main

from consumer import config
from consumer.bootstrap import ROLES
from consumer.cli.app import app
from consumer.config import ENV_PREFIX
from consumer.config.web import IntakeTable, WebTable
from consumer.hooks import BEAT_SECONDS
from consumer.web.app import callback_routes, watch_routes
from consumer.web.callbacks import Intake
from tests.k8s.kinds import name_of
from tests.k8s.rendering import Object

NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
INSTANCE: Final = "app.kubernetes.io/instance"
VERSION: Final = "app.kubernetes.io/version"
RECOMMENDED: Final = (NAME, INSTANCE, VERSION, "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")
USER: Final = 10001
#: A stop takes this long at most (consumer/service.py).
STOP_SECONDS: Final = 20
#: A loop that no longer turns has to be noticed within this time. A process may take this long to start.
NOTICED_SECONDS, START_SECONDS = 150, 120
#: The probe that looks only at the loops, and the probe that looks at the database too.
LIVE, READY = "/live", "/ready"

#: What Argo CD applies after the Jobs _FIRST, each in its own wave.
_FIRST, _LATER = ("migrate", "doctor"), ("Deployment", "ScaledObject", "Ingress")

_COMMANDS: Final = typer.main.get_command(app)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def workloads(objects: list[Object]) -> list[Object]:
    return [one for one in objects if one["kind"] in ("Deployment", "Job", "StatefulSet")]


def pod_of(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]
    return found


def is_ours(container: Object) -> bool:
    """Whether a container runs this program, and not Kafka or PostgreSQL."""
    return re.search(r"(^|/)orderflow[:@]", container["image"]) is not None


def containers(workload: Object) -> list[Object]:
    return [*pod_of(workload).get("initContainers", ()), *pod_of(workload)["containers"]]


def labels_of(workload: Object) -> dict[str, str]:
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ()))


def seconds_to_notice(probe: Object) -> int:
    """How long a probe takes until its last failure that counts, at most."""
    return int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))


# -- Labels, selectors, ports ------------------------------------------------------------------------------------


def labels(objects: list[Object]) -> Iterator[str]:
    """Wrong labels: recommended labels are missing, or a selector includes the version."""
    for one in objects:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("orderflow-config-"):
            continue  # its name says enough, and a label would not roll the pods
        missing = [label for label in RECOMMENDED if label not in one["metadata"].get("labels", {})]
        if one["metadata"].get("namespace") == "kafka":
            missing = [label for label in missing if label != VERSION]
        if missing:
            yield f"{name_of(one)}: without the labels {', '.join(missing)}"
    for one in workloads(objects):
        missing = [label for label in (*RECOMMENDED, COMPONENT) if label not in labels_of(one)]
        if missing:
            yield f"{name_of(one)}: its pods are without the labels {', '.join(missing)}"
    for one in objects:
        if VERSION in str(one.get("spec", {}).get("selector", "")):
            yield f"{name_of(one)}: selects by version, so a rolling update would lose its pods"


def selectors(objects: list[Object]) -> Iterator[str]:
    """Selectors that select nothing, or the pods of others."""
    pods = {name_of(one): labels_of(one) for one in workloads(objects)}
    for one in [*of_kind(objects, "Deployment"), *of_kind(objects, "StatefulSet")]:
        found = [name for name, have in pods.items() if selects(one["spec"]["selector"], have)]
        if found != [name_of(one)]:
            yield f"{name_of(one)}: selects the pods of {found}"
        for spread in pod_of(one).get("topologySpreadConstraints", ()):
            if not selects(spread["labelSelector"], labels_of(one)):
                yield f"{name_of(one)}: a topologySpreadConstraint selects other pods"
        if one["spec"].get("replicas") != 1:
            budgets = [
                p for p in of_kind(objects, "PodDisruptionBudget") if selects(p["spec"]["selector"], labels_of(one))
            ]
            if [p["spec"].get("maxUnavailable") for p in budgets] != [1]:
                yield f"{name_of(one)}: needs one PodDisruptionBudget with maxUnavailable 1"
            keys = {spread["topologyKey"] for spread in pod_of(one).get("topologySpreadConstraints", ())}
            if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
                yield f"{name_of(one)}: is not spread over zones and hosts"
    for kind, path in (
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
        ("PodMonitor", "selector"),
    ):
        for one in of_kind(objects, kind):
            if not any(selects(one["spec"][path], have) for have in pods.values()):
                yield f"{name_of(one)}: selects no pod"
    for one in of_kind(objects, "Service"):
        if not any(selects({"matchLabels": one["spec"]["selector"]}, have) for have in pods.values()):
            yield f"{name_of(one)}: selects no pod"


def ports(objects: list[Object]) -> Iterator[str]:
    """Names of ports that no container has, and Services that an Ingress does not find."""
    for one in workloads(objects):
        for container in containers(one):
            names = {port["name"] for port in container.get("ports", ())}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind, {})
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if port is not None and port not in names:
                    yield f"{name_of(one)}: {kind} asks the port {port}, which is not one of {sorted(names)}"
    every = {port["name"] for one in workloads(objects) for c in containers(one) for port in c.get("ports", ())}
    used = [(one, port["targetPort"]) for one in of_kind(objects, "Service") for port in one["spec"]["ports"]]
    used += [(one, end["port"]) for one in of_kind(objects, "PodMonitor") for end in one["spec"]["podMetricsEndpoints"]]
    used += [
        (one, port["port"])
        for one in of_kind(objects, "NetworkPolicy")
        for rule in one["spec"].get("ingress", ())
        for port in rule.get("ports", ())
    ]
    for one, port in used:
        if port not in every:
            yield f"{name_of(one)}: no container has the port {port}"
    services = {
        one["metadata"]["name"]: {port["name"] for port in one["spec"]["ports"]} for one in of_kind(objects, "Service")
    }
    for one in of_kind(objects, "Ingress"):
        hosts = [host for tls in one["spec"].get("tls", ()) for host in tls["hosts"]]
        for rule in one["spec"]["rules"]:
            if rule["host"] not in hosts:
                yield f"{name_of(one)}: the host {rule['host']} has no TLS"
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                if service["port"]["name"] not in services.get(service["name"], ()):
                    yield f"{name_of(one)}: there is no Service {service['name']} with that port"
                if not any(route.startswith(path["path"]) for route in routes()):
                    yield f"{name_of(one)}: the web has no path {path['path']}"


# -- Pods --------------------------------------------------------------------------------------------------------


def routes() -> list[str]:
    """The paths of the one port, as the program serves them."""
    nothing: Any = None  # no request is answered here
    watch = watch_routes(registry=nothing, what_is_stuck=lambda: "", what_is_not_ready=lambda: "")
    return [str(getattr(route, "path", "")) for route in [*watch, *callback_routes(Intake({}, nothing))]]


def probes(objects: list[Object]) -> Iterator[str]:
    """Probes that are missing, ask a path that does not exist, or take too long."""
    for one in of_kind(objects, "Deployment"):
        for container in pod_of(one)["containers"]:
            for kind, path in (("startupProbe", LIVE), ("livenessProbe", LIVE), ("readinessProbe", READY)):
                asked = container.get(kind, {}).get("httpGet", {}).get("path")
                if asked != path or asked not in routes():
                    yield f"{name_of(one)}: {kind} asks {asked}, not {path}"
            if seconds_to_notice(container.get("startupProbe", {})) > START_SECONDS:
                yield f"{name_of(one)}: startupProbe waits longer than {START_SECONDS} s"
            if BEAT_SECONDS + seconds_to_notice(container.get("livenessProbe", {})) > NOTICED_SECONDS:
                yield f"{name_of(one)}: livenessProbe needs more than {NOTICED_SECONDS} s"
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if pod_of(one).get("terminationGracePeriodSeconds", 30) < 2 * (STOP_SECONDS + sleep):
                yield f"{name_of(one)}: the grace period is too short for a stop"
    for one in of_kind(objects, "StatefulSet"):
        missing = {"startupProbe", "livenessProbe", "readinessProbe"} - set(pod_of(one)["containers"][0])
        if missing:
            yield f"{name_of(one)}: without {', '.join(sorted(missing))}"
    for one in workloads(objects):
        for container in filter(is_ours, containers(one)):
            asked = container.get("startupProbe", {}).get("exec", {}).get("command")
            if asked is not None and (asked[0] != "orderflow" or misused(asked[1:])):
                yield f"{name_of(one)}: a probe runs {asked}: {misused(asked[1:])}"


def security(objects: list[Object]) -> Iterator[str]:
    """What pod security `restricted` requires, and what this project requires in addition."""
    for one in workloads(objects):
        pod, context = pod_of(one), pod_of(one).get("securityContext", {})
        user = USER if all(map(is_ours, containers(one))) else context.get("runAsUser") or "another than root"
        wanted: dict[str, tuple[Any, Any]] = {
            "runAsNonRoot": (context.get("runAsNonRoot"), True),
            "runAsUser": (context.get("runAsUser"), user),
            "fsGroup": (context.get("fsGroup"), user),
            "seccompProfile": (context.get("seccompProfile"), {"type": "RuntimeDefault"}),
            "automountServiceAccountToken": (pod.get("automountServiceAccountToken"), False),
            # The namespace's Services would become ORDERFLOW_... names, which the program refuses.
            "enableServiceLinks": (pod.get("enableServiceLinks"), False),
            "serviceAccountName": (pod.get("serviceAccountName"), "orderflow"),
        }
        for container in containers(one):
            own, resources = container.get("securityContext", {}), container.get("resources", {})
            at = container["name"]
            wanted |= {
                f"{at} allowPrivilegeEscalation": (own.get("allowPrivilegeEscalation"), False),
                f"{at} readOnlyRootFilesystem": (own.get("readOnlyRootFilesystem"), True),
                f"{at} capabilities": (own.get("capabilities"), {"drop": ["ALL"]}),
                f"{at} requests": (sorted(resources.get("requests", {})), ["cpu", "memory"]),
                f"{at} limits": (resources.get("limits"), {"memory": resources.get("requests", {}).get("memory")}),
                f"{at} /tmp": ("/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], True),
            }
        yield from (
            f"{name_of(one)}: {key} is {is_}, not {to_be}" for key, (is_, to_be) in wanted.items() if is_ != to_be
        )
    for one in of_kind(objects, "Namespace"):
        if one["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{name_of(one)}: pod security is not restricted"
    if workloads(objects):
        closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        if closed not in [one["spec"] for one in of_kind(objects, "NetworkPolicy")]:
            yield "no NetworkPolicy denies everything that no other one allows"


def misused(args: list[str]) -> str:
    """Why the command line refuses these arguments; an empty text if it takes them. Nothing is run."""
    command: Any = _COMMANDS
    name, rest, parent = "orderflow", list(args), None
    try:
        while True:
            context = command.make_context(name, rest, parent=parent)
            if not hasattr(command, "resolve_command"):
                return ""
            rest = [*context._protected_args, *context.args]
            name, command, rest = command.resolve_command(context, rest)
            parent = context
    except Exception as error:  # click's own exceptions, whose classes typer copies
        return f"{type(error).__name__}: {error}"


def commands(objects: list[Object]) -> Iterator[str]:
    """Arguments that the command line refuses, and roles in the wrong Deployment."""
    for one in workloads(objects):
        for container in filter(is_ours, containers(one)):
            args = container.get("args", [])
            if "command" in container or not args or (why := misused(args)):
                yield f"{name_of(one)}: {container['name']} runs {args}: {why if args else 'no arguments'}"
            elif args[0] == "run" and args[1] != labels_of(one)[COMPONENT]:
                yield f"{name_of(one)}: runs the role {args[1]}"
        is_for_a_version = labels_of(one)[COMPONENT] in ("migrate", "doctor")
        if is_for_a_version and one["metadata"]["name"].rpartition("-")[2] != labels_of(one).get(VERSION):
            yield f"{name_of(one)}: the name does not end with the version, and a Job cannot be changed"
    roles = {labels_of(one)[COMPONENT] for one in of_kind(objects, "Deployment")}
    if roles and roles not in ({"all"}, set(ROLES)):
        yield f"the roles are {sorted(roles)}, not {sorted(ROLES)}"


def doctor(objects: list[Object]) -> Iterator[str]:
    """No Job that looks at everything, or one that cannot reach what the roles reach."""
    jobs = [one for one in of_kind(objects, "Job") if labels_of(one)[COMPONENT] == "doctor"]
    if not jobs and {labels_of(one)[COMPONENT] for one in of_kind(objects, "Deployment")} == set(ROLES):
        yield "there is no Job that runs the doctor"
    for one in jobs:
        for policy in of_kind(objects, "NetworkPolicy"):
            if "egress" in policy["spec"] and not selects(policy["spec"]["podSelector"], labels_of(one)):
                yield f"{name_of(one)}: {name_of(policy)} does not let it out"


def waves(objects: list[Object]) -> Iterator[str]:
    """Argo CD: a Job that would wait for what comes later, or a Deployment that does not wait for the Jobs."""
    argo, jobs = "argocd.argoproj.io", [one for one in of_kind(objects, "Job") if labels_of(one)[COMPONENT] in _FIRST]
    of = {name_of(one): int(one["metadata"].get("annotations", {}).get(f"{argo}/sync-wave", 0)) for one in objects}
    for one in jobs:
        if (hook := one["metadata"]["annotations"][f"{argo}/hook"]) != "Sync":
            yield f"{name_of(one)}: what it needs is not there in the phase {hook}"
    numbers = [of[name_of(one)] for part in _FIRST for one in jobs if labels_of(one)[COMPONENT] == part]
    needed = [one for one in objects if one["kind"] not in (*_LATER, "Job")]
    numbers = [max(of[name_of(one)] for one in needed), *numbers] if jobs else []
    numbers += [min(of[name_of(one)] for one in objects if one["kind"] in _LATER)] if jobs else []
    if numbers != sorted(set(numbers)):
        yield f"the waves of what the Jobs need, of the Jobs and of the Deployments are {numbers}"


def images(objects: list[Object], version: str, *, by_digest: bool) -> Iterator[str]:
    """More than one image, another version than the program's, or in production a tag."""
    every = [container for one in workloads(objects) for container in containers(one)]
    found = {container["image"] for container in every if is_ours(container)}
    for image in sorted({container["image"] for container in every} - found):
        if not re.search(r":\d+\.\d+", image):
            yield f"the image {image} is not a fixed version"
    if len(found) > 1:
        yield f"several images: {sorted(found)}"
    for image in found:
        if by_digest and not re.search(r"@sha256:[0-9a-f]{64}$", image):
            yield f"the image {image} is not named by its digest"
        if not by_digest and not image.endswith(f":{version}"):
            yield f"the image {image} is not version {version}"
    for one in objects:
        labelled = one["metadata"].get("labels", {}).get(VERSION, version)
        if labelled != version:
            yield f"{name_of(one)}: labelled {labelled}, but the program is {version}"


# -- Files and settings ------------------------------------------------------------------------------------------


def provided(objects: list[Object]) -> dict[str, set[str] | None]:
    """Secret -> its keys; None if a store of secrets decides which keys there are."""
    found: dict[str, set[str] | None] = {}
    for one in of_kind(objects, "ExternalSecret"):
        spec = one["spec"]
        found[spec["target"]["name"]] = None if "dataFrom" in spec else {data["secretKey"] for data in spec["data"]}
    return found | {one["metadata"]["name"]: set(one["data"]) for one in of_kind(objects, "Secret")}


def _files(workload: Object, container: Object, objects: list[Object], loose: list[str]) -> dict[str, str]:
    """Path -> content, or an empty text for a secret, of every file that a container sees. `loose` gets the folders
    whose content a store of secrets decides, and the folders that the pod writes itself."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
    secrets = provided(objects)
    volumes = {volume["name"]: volume for volume in pod_of(workload)["volumes"]}
    found: dict[str, str] = {}
    for mount in container["volumeMounts"]:
        volume, folder = volumes.get(mount["name"], {}), mount["mountPath"]
        if "configMap" in volume:
            data = maps.get(volume["configMap"]["name"])
            if data is None:
                raise KeyError(f"there is no ConfigMap {volume['configMap']['name']}")
            found |= {f"{folder}/{key}": text for key, text in data.items()}
        for source in volume.get("projected", {}).get("sources", ()):
            name = source["secret"]["name"]
            if name not in secrets:
                raise KeyError(f"there is no Secret {name}")
            keys = secrets[name]
            if keys is None:
                loose.append(folder)
            found |= {f"{folder}/{key}": "" for key in keys or ()}
        if "emptyDir" in volume:
            loose.append(folder)
        if not volume:
            raise KeyError(f"there is no volume {mount['name']}")
    return found


def settings_of(objects: list[Object], folder: Path, environ: dict[str, str]) -> config.Settings | None:
    """The settings of the ConfigMap, as a pod with these variables loads them. None if there is no ConfigMap."""
    for one in of_kind(objects, "ConfigMap"):
        if "orderflow.toml" in one["data"]:
            (folder / "orderflow.toml").write_text(one["data"]["orderflow.toml"], encoding="utf-8")
            before = {name: value for name, value in os.environ.items() if name.startswith(ENV_PREFIX)}
            try:
                for name in before:
                    del os.environ[name]
                os.environ.update(environ)
                return config.load(folder / "orderflow.toml")
            finally:
                for name in environ:
                    os.environ.pop(name, None)
                os.environ.update(before)
    return None


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _paths(one)


def configuration(objects: list[Object], folder: Path) -> Iterator[str]:
    """Variables that the program does not know, files that a container does not see, and wrong ports."""
    for one in workloads(objects):
        for container in containers(one):
            environ = {variable["name"]: variable["value"] for variable in container.get("env", ())}
            try:
                settings = settings_of(objects, folder, environ if is_ours(container) else {})
            except Exception as error:
                yield f"{name_of(one)}: {error}"
                continue
            if is_ours(container):
                yield from (f"{name_of(one)}: {text}" for text in _variables_and_ports(container, environ, settings))
                read = _read_by_us(container.get("args", []), settings, folder)
            else:
                read = {value for name, value in environ.items() if name.endswith("_FILE")}
            loose: list[str] = []
            try:
                files = _files(one, container, objects, loose)
            except KeyError as error:
                yield f"{name_of(one)}: {error.args[0]}"
                continue
            for path in sorted(read):
                if path not in files and not any(path.startswith(f"{other}/") for other in loose):
                    yield f"{name_of(one)}: {container['name']} reads {path}, which is not mounted"


def _variables_and_ports(container: Object, environ: dict[str, str], settings: config.Settings | None) -> Iterator[str]:
    fields = {"WEB": WebTable.model_fields, "INTAKE": IntakeTable.model_fields}
    known = {f"{ENV_PREFIX}{table}__{key.upper()}" for table, keys in fields.items() for key in keys}
    yield from (f"{name} is no setting" for name in environ if name not in known)
    simulated = _ports_of_simulators(container.get("args", []), settings)
    for port in container.get("ports", ()):
        table = {"http": "WEB", "callbacks": "INTAKE"}.get(port["name"], port["name"])
        listens = environ.get(f"{ENV_PREFIX}{table}__PORT"), environ.get(f"{ENV_PREFIX}{table}__HOST")
        listens = simulated.get(port["name"], listens)
        if listens != (str(port["containerPort"]), "0.0.0.0"):
            yield f"listens on {listens[0]}, but the container's port is {port['containerPort']}"


def _ports_of_simulators(args: list[str], settings: config.Settings | None) -> dict[str, tuple[str, str]]:
    """Where each simulator of `orderflow simulate --config` listens: its port, and its host."""
    if settings is None or "--host" not in args:
        return {}
    addresses = {name: shop.endpoint for name, shop in settings.shops.items()} | {"oms": settings.oms.base_url}
    host = args[args.index("--host") + 1]
    return {name: (str(urlsplit(address).port), host) for name, address in addresses.items()}


def _read_by_us(args: list[str], settings: config.Settings | None, folder: Path) -> set[str]:
    """The files that the program reads with these arguments."""
    if "--config" not in args:
        return set()
    file = args[args.index("--config") + 1]
    if settings is None:
        return {file}
    if args[0] == "migrate":
        return {file, str(settings.store.password_file)}
    base = Path(file).parent  # where a relative path begins
    every = set(_paths(settings.model_dump()))
    return {file, *(str(base / one.relative_to(folder) if one.is_relative_to(folder) else one) for one in every)}
