"""The floor of P5: reads a topic, sends one request for each record, and stores nothing.

    python -m tests.bench.bare_wire SERVER TOPIC REMOTE

It begins with the records that are published after it prints a line.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
from kafka import KafkaConsumer, TopicPartition

from tests.bench.effects import FLOOR_THREADS

PARTITIONS = 4


def main(server: str, topic: str, remote: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=[server], enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    for partition in partitions:
        consumer.position(partition)  # the seek takes place
    limits = httpx.Limits(max_connections=FLOOR_THREADS, max_keepalive_connections=FLOOR_THREADS)
    with httpx.Client(base_url=remote, limits=limits) as client, ThreadPoolExecutor(FLOOR_THREADS) as pool:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for record in consumer:
            order_id = json.loads(record.value)["subject"]
            pool.submit(client.put, f"/api/orders/{order_id}/accept", json={"order_lines": []})


if __name__ == "__main__":
    main(*sys.argv[1:])
