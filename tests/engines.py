"""Interim."""

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest


@pytest.fixture
def postgres_url() -> Iterator[str]:
    base = os.environ["ORDERFLOW_TEST_DATABASE_URL"]
    name = "t" + uuid.uuid4().hex[:12]
    with psycopg.connect(base.replace("+psycopg", ""), autocommit=True) as c:
        c.execute(f"create database {name}")
    yield base.rsplit("/", 1)[0] + "/" + name
    with psycopg.connect(base.replace("+psycopg", ""), autocommit=True) as c:
        c.execute(f"drop database {name} with (force)")


@pytest.fixture
def kafka_servers() -> list[str]:
    return [os.environ["ORDERFLOW_TEST_KAFKA"]]
