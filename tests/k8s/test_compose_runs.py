"""The orderflow services of compose.yaml run for real, on a Kafka and a PostgreSQL of the tests, and ship orders.

Each one is a process of the image's user with its command, variables, mounts and rights of the file, and nothing else.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from adapters.engines.kafka import Kafka
from adapters.engines.processes import free_ports
from tests.engines import needs, started
from tests.k8s.compose import OURS, SCRAPED, SERVICES, Composed
from tests.k8s.kubelet import missing
from tests.support import http, wait

pytestmark = pytest.mark.minutes

ROLES = [name for name, one in OURS.items() if one["command"][0] == "run"]
#: So many orders have to be shipped.
SHIPPED = 3


@pytest.fixture
def kafka(folder: Path) -> Iterator[Kafka]:
    """A broker of its own, because the topics have the names of the file."""
    for one in started(folder):
        (script,) = SERVICES["topics"]["command"]
        partitions = int(re.findall(r"--partitions (\d+)", script)[0])
        one.create_topics(dict.fromkeys(re.findall(r"in (.+); do", script)[0].split(), partitions))
        yield one


def test_the_services_start_in_their_order_ship_orders_and_end_in_time(
    tmp_path: Path, kafka: Kafka, postgres_url: str
) -> None:
    needs(missing())
    ports = {one: str(port) for one, port in zip(SCRAPED.values(), free_ports(len(SCRAPED)), strict=True)}
    texts = {'["kafka:9092"]': json.dumps(kafka.bootstrap_servers)}
    texts |= {"postgresql+psycopg://orderflow@postgres/orderflow": postgres_url, **ports}
    composed = Composed(tmp_path, texts)
    try:
        composed.up()
        wait(lambda: all(answers(port, "/ready") for port in ports.values()), "every process is ready", 60)
        assert all(answers(port, "/metrics") for port in ports.values())
        wait(lambda: composed.pods["doctor"].phase in ("Succeeded", "Failed"), "the doctor has looked", 60)
        assert composed.pods["doctor"].phase == "Succeeded", composed.pods["doctor"].logs()
        wait(lambda: shipped(composed) >= SHIPPED, "orders are shipped", 180)
    finally:
        composed.down()
    for name, pod in composed.pods.items():
        (container,) = pod.containers
        ends = [0] if name in (*ROLES, "simulators") else []
        assert (name, pod.restarts, container.codes, container.late) == (name, 0, ends, False), pod.logs()


def answers(port: str, path: str) -> bool:
    with suppress(httpx.HTTPError):
        return http().get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200
    return False


def shipped(composed: Composed) -> int:
    """How many orders are shipped, as a person in the container of the worker sees it."""
    command = ("orders", "list", "--state", "shipped", "--json", "--config", "/demo/orderflow.toml")
    return len(json.loads(composed.run("worker", *command)))
