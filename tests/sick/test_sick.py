"""The short form of `make sick`: the sicknesses that are played in a few seconds each."""

import shutil

import pytest
from rich.console import Console

from adapters.engines.kafka import kafka_missing
from adapters.engines.postgres import postgres_missing
from tests.engines import needs
from tests.sick.__main__ import failures, play_all
from tests.sick.service import new_folder
from tests.sick.table import SHORT

pytestmark = pytest.mark.minutes


def test_a_sick_part_stops_nobody_else_and_can_be_seen() -> None:
    needs(kafka_missing())
    needs(postgres_missing())
    folder = new_folder()
    results = play_all(SHORT, folder, Console(stderr=True), quick=True)
    assert failures(results) == [], folder
    shutil.rmtree(folder, ignore_errors=True)
