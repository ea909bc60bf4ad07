"""Checks of the demo that contains what it needs: its addresses, keys, topics and settings fit each other."""

import base64
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url

from consumer import config
from consumer.demo.settings import Engines, write_settings
from tests.k8s.fitting import COMPONENT, containers, of_kind, workloads
from tests.k8s.rendering import Object


def _container(objects: list[Object], component: str) -> Any:
    """The last container of a workload, or an empty one."""
    found = [one for one in workloads(objects) if one["metadata"]["labels"].get(COMPONENT) == component]
    return containers(found[0])[-1] if found else {"args": [], "env": []}


def inside(objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Everything that is called has to be in the namespace."""
    audit = _container(objects, "audit")["args"]
    callbacks = audit[audit.index("--callbacks") + 1] if "--callbacks" in audit else ""
    store = make_url(settings.store.url)
    called = [(store.host or "", store.port or 5432)]
    called += [(host, int(port)) for host, _, port in (one.partition(":") for one in settings.kafka.bootstrap_servers)]
    web = [callbacks, settings.oms.base_url, *(shop.endpoint for shop in settings.shops.values())]
    called += [(parts.hostname or "", parts.port or 80) for parts in map(urlsplit, web)]
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(objects, "Service")}
    for host, port in called:
        if port not in [one["port"] for one in services.get(host, ())]:
            yield f"there is no Service {host} with the port {port}"
    every: list[Object] = [{"podSelector": {}}]
    for way, end in (("ingress", "from"), ("egress", "to")):
        rules = [rule for one in of_kind(objects, "NetworkPolicy") for rule in one["spec"].get(way, ())]
        if {end: every} not in rules:
            yield f"no NetworkPolicy lets the pods call each other ({way})"
        wide = [rule for rule in rules if rule.get(end) != every and "k8s-app" not in str(rule)]
        if wide:
            yield f"a NetworkPolicy lets more than the pods of the namespace in or out: {wide}"
    yield from _engines(objects, settings)
    yield from _as_the_demo_writes(objects, settings)


def _engines(objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Kafka and PostgreSQL are started with other names than the settings have."""
    variables = {
        one["name"]: one["value"]
        for component in ("kafka", "postgresql")
        for one in _container(objects, component)["env"]
    }
    (script,) = _container(objects, "topics")["args"] or [""]
    topics = set((re.findall(r"in (.+); do", script) or [""])[0].split())
    if topics != set(settings.topics.model_dump().values()):
        yield f"the topics are {sorted(topics)}, not those of the settings"
    if settings.kafka.bootstrap_servers != re.findall(r"--bootstrap-server (\S+)", script):
        yield "the topics are made in another Kafka"
    if [variables.get("KAFKA_ADVERTISED_LISTENERS")] != [
        f"PLAINTEXT://{one}" for one in settings.kafka.bootstrap_servers
    ]:
        yield "Kafka names another address to its clients"
    store = make_url(settings.store.url)
    if (variables.get("POSTGRES_USER"), variables.get("POSTGRES_DB")) != (store.username, store.database):
        yield "the settings name another user or database"


def _as_the_demo_writes(objects: list[Object], settings: config.Settings) -> Iterator[str]:
    """Keys and settings are others than those that the demo writes for the simulators."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {name: shop.endpoint for name, shop in settings.shops.items()}
        engines = Engines(settings.kafka.bootstrap_servers, settings.store.url, database_password="simulated")
        file = write_settings(Path(folder), urls, settings.oms.base_url, 9464, engines=engines)
        file.write_text(f"{file.read_text()}[http]\nsimulated = true\n")
        written = config.load(file)
        if _comparable(settings) != _comparable(written):
            yield "orderflow.toml differs from what the demo writes (consumer/demo/settings.py)"
        data = {key: text for one in of_kind(objects, "Secret") for key, text in one["data"].items()}
        data |= {key: text for one in of_kind(objects, "ConfigMap") for key, text in one["data"].items()}
        for name, shop in written.shops.items():
            files = {
                f"{name}.key": shop.api_key_file,
                f"{name}-oms.key": shop.oms.api_key_file,
                f"{name}-callback.key": shop.oms.callback_secret_file,
                f"{name}.skus": shop.known_skus_file,
            }
            for key, path in files.items():
                found = data.get(key, "")
                text = found if key.endswith(".skus") else base64.b64decode(found).decode()
                if path is None or text.strip() != path.read_text().strip():
                    yield f"{key} is not that of the simulators"


def _comparable(settings: config.Settings) -> Any:
    """The settings with each path replaced by a mark, and without [web]."""

    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: marked(one) for key, one in value.items()}
        return "a file" if isinstance(value, Path) else value

    return marked(settings.model_dump(exclude={"web", "intake"}))
