"""`orderflow shops`."""

from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import answer, complaint, good
from tests.consumer.operations.desk import Desk


def test_shops_are_listed_with_their_switches(desk: Desk) -> None:
    found = answer("shops", "list")
    assert [(shop["name"], shop["effects"], shop["paused"]) for shop in found] == [
        ("alpha", True, []),
        ("beta", False, []),
    ]
    assert "https://beta.mirakl.net" in good("shops", "list")


def test_a_shop_is_paused_and_resumed(desk: Desk) -> None:
    assert "import" in good("shops", "pause", "alpha", "--only", "import", "--reason", "x", "--yes")
    assert answer("shops", "list")[0]["paused"] == ["import"]
    good("shops", "resume", "alpha", "--reason", "x", "--yes")
    assert answer("shops", "list")[0]["paused"] == []
    said = complaint("shops", "resume", "beta", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert 'shops.beta.effects is "off" in the configuration' in said
    said = complaint("shops", "pause", "gamma", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert "the store knows no shop gamma" in said
