"""The lines of the benchmark's table."""

from tests.bench.lines import Line, spread, table
from tests.bench.noise import Noise


def test_rounds_in_turns_are_compared_round_by_round() -> None:
    """The machine was slow in the second round, for both."""
    assert Line("P1", "events", "/s", [100, 10, 120], "bare", [200, 20, 200]).ratio == 0.5


def test_other_rounds_are_compared_by_their_medians() -> None:
    assert Line("P3", "lives", "/s", [10, 20, 30], "DBOS", [5, 15]).ratio == 2.0
    assert Line("P8", "help", "CPU s", [0.1]).ratio is None


def test_the_table_and_the_json_say_the_same() -> None:
    line = Line("P4", "calls", "/s", [400, 520, 510], "httpx", [500, 510, 505], "ours >= 500")
    assert line.as_json()["ours"] == [400, 520, 510]
    assert spread(line.ours) == "510 (400 to 520)"
    assert spread([0.111]) == "0.11"
    assert table([line]).row_count == 1


def test_the_noise_has_a_sample_from_before_the_first_figure() -> None:
    noise = Noise()
    noise.sample()
    assert [len(line.ours) for line in noise.lines()] == [2, 2, 2]
    assert [line.ratio for line in noise.lines()] == [None, None, None]
