"""`orders messages` shows a person what the customer wrote, also after the import, when orderflow does not look."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.simulators.faults import Fault
from adapters.simulators.orders import COMPANIES, MARKETPLACES
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from tests.consumer.rig import Rig

FILE = """\
[store]
url = "sqlite:///orderflow.db"
[shops.alpha]
base_url = "https://alpha.example"
shop_id = {shop_id}
api_key_file = "alpha.key"
[shops.alpha.oms]
company_ref_id = {company}
api_key_file = "alpha.key"
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    text = FILE.format(shop_id=MARKETPLACES["alpha"].shop_id, company=COMPANIES["alpha"])
    (tmp_path / "orderflow.toml").write_text(text)
    (tmp_path / "alpha.key").write_text(MARKETPLACES["alpha"].api_key)
    return Rig(tmp_path)


def messages(rig: Rig, *options: str) -> Result:
    environment = Environment(rig.clock, "ops", rig.nets["alpha"])
    command = ["orders", "messages", "1-A", *options]
    return CliRunner().invoke(app, command, obj=environment, catch_exceptions=False)


def imported_with_a_message(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "For Canary, please.", topic="Engraving")
    rig.poll()
    rig.work()
    assert rig.state() == "imported"


def test_a_second_message_after_the_import_is_on_no_list_and_is_shown_to_a_person_who_asks(rig: Rig) -> None:
    imported_with_a_message(rig)
    rig.mirakl["alpha"].post_message("1-A", "No: for Canary and Finch.")
    rig.poll(3600)
    assert rig.attention() == []
    found = json.loads(messages(rig, "--json").stdout)
    assert found["has_attachments"] is False
    assert [(one["in_oms"], one["text"]) for one in found["messages"]] == [
        (True, "Engraving"),
        (True, "For Canary, please."),
        (False, "No: for Canary and Finch."),
    ]
    assert messages(rig).stdout.splitlines()[-1].endswith("UTC  customer  no      No: for Canary and Finch.")
    times = [one["at"] for one in found["messages"]]
    assert times == sorted(times)
    assert messages(rig).stdout.split()[:4] == ["at", "from", "in_oms", "text"]


def test_the_cure_of_a_message_after_the_import_names_the_command_that_shows_it(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.mirakl["alpha"].post_message("1-A", "For Canary, please.")
    rig.poll(3600)
    assert rig.attention() == ["message_after_import"]
    environment = Environment(rig.clock, "ops", rig.nets["alpha"])
    result = CliRunner().invoke(app, ["orders", "explain", "1-A"], obj=environment, catch_exceptions=False)
    assert "`orderflow orders messages 1-A --shop alpha`" in result.stdout


def test_a_file_is_named_because_the_oms_does_not_get_it(rig: Rig) -> None:
    imported_with_a_message(rig)
    rig.mirakl["alpha"].post_message("1-A", "See the file.", attachments=["logo.png"])
    assert "A message has a file, a picture or a part that cannot be read" in messages(rig).stderr


def test_an_order_that_was_not_imported_by_us_says_that_nobody_knows(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    rig.mirakl["alpha"].post_message("1-A", "For Canary, please.")
    rig.poll()
    assert {one["in_oms"] for one in json.loads(messages(rig, "--json").stdout)["messages"]} == {None}
    assert "not known" in messages(rig).stdout


def test_a_message_that_mirakl_names_and_does_not_show_is_looked_for_in_the_portal(rig: Rig) -> None:
    imported_with_a_message(rig)
    rig.mirakl["alpha"].knobs.faults.append(Fault("M11", "answer", status=200, content='{"data": []}'))
    assert "Mirakl says that the customer wrote, and shows no message: look in Mirakl's portal" in messages(rig).stderr


def test_messages_that_mirakl_does_not_show_are_a_bad_answer(rig: Rig) -> None:
    imported_with_a_message(rig)
    rig.mirakl["alpha"].knobs.faults.append(Fault("M11", "answer", status=403, content="{}"))
    result = messages(rig)
    assert result.exit_code == BAD_ANSWER
    assert "orderflow: Mirakl did not show the messages: M11" in result.stderr
    assert rig.attention() == []
