"""The peer of whole lives: DBOS carries orders through six steps. It runs in an environment of its own (lives.py).

    python tests/bench/peer_dbos.py DATABASE_URL WORKFLOWS THREADS

An order is one workflow. Its steps are what an order waits for or has done: accepted, paid, imported, dispatched,
tracked, confirmed. Each is empty and is stored when it ends, as each of our calls and events is. That an order was paid
or dispatched costs DBOS no record and no message. It is measured in five ways, and the fastest counts: threads that
start workflows and wait for them, in three sizes, and a queue with as many workers, in two. On two cores four threads
were the fastest (docs/performance.md); more threads, other queues, a larger pool and asyncio were slower.
It prints workflows a second and CPU milliseconds a workflow, of each way, as JSON.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dbos import DBOS

url, count, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
DBOS(config={"name": "peer", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})


@DBOS.step()
def step(name: str, order: int) -> None:
    """A remote that answers at once."""


@DBOS.workflow()
def life(order: int) -> None:
    for name in ("accept", "pay", "import", "dispatch", "track", "confirm"):
        step(name, order)


def with_threads(size: int, first: int) -> None:
    with ThreadPoolExecutor(size) as pool:
        list(pool.map(life, range(first, first + count)))


def with_queue(queue: str, first: int) -> None:
    handles = [DBOS.enqueue_workflow(queue, life, number) for number in range(first, first + count)]
    for handle in handles:
        handle.get_result()


DBOS.launch()
life(-1)  # so that everything is imported and connected
found = {}
for size in (16, 64):
    DBOS.register_queue(f"queue of {size}", worker_concurrency=size, polling_interval_sec=0.05)
ways = {f"{size} threads": partial(with_threads, size) for size in sorted({4, 8, threads})}
ways |= {name: partial(with_queue, name) for name in ("queue of 16", "queue of 64")}
for number, (name, run) in enumerate(ways.items()):
    began, cpu = time.perf_counter(), time.process_time()
    run(number * count)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    found[name] = (count / seconds, used / count * 1000)
sys.stdout.write(json.dumps(found))
sys.stdout.flush()
DBOS.destroy()
