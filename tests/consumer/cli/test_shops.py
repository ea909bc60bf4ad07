"""`orderflow shops`: the switches of a shop's effects."""

from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import error_of, json_of, output_of
from tests.consumer.operations.desk import Desk


def test_shops_are_listed_with_their_switches(desk: Desk) -> None:
    alpha, beta = json_of("shops", "list")
    assert alpha["name"] == "alpha"
    assert alpha["effects"] is True
    assert alpha["paused"] == []
    assert beta["name"] == "beta"
    assert beta["effects"] is False
    assert beta["paused"] == []
    assert "https://beta.mirakl.net" in output_of("shops", "list")


def test_a_shop_is_paused_and_resumed(desk: Desk) -> None:
    assert "import" in output_of("shops", "pause", "alpha", "--only", "import", "--reason", "x", "--yes")
    assert json_of("shops", "list")[0]["paused"] == ["import"]
    output_of("shops", "resume", "alpha", "--reason", "x", "--yes")
    assert json_of("shops", "list")[0]["paused"] == []


def test_a_switch_that_cannot_be_changed_is_a_bad_answer(desk: Desk) -> None:
    error = error_of("shops", "resume", "beta", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert 'shops.beta.effects is "off" in the configuration' in error
    error = error_of("shops", "pause", "gamma", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert "the store knows no shop gamma" in error
