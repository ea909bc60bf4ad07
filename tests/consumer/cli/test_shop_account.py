"""`orderflow shops account`: a shop's account at Mirakl is shown, and named fields of it are changed."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from adapters.simulators.faults import Fault
from adapters.store import schema
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import json_of
from tests.consumer.cli.seller import Seller
from tests.consumer.operations.audited import Audited, audited
from tests.consumer.operations.desk import Desk


class OwnSeller(Seller):
    """Runs `shops account` against a simulated marketplace."""

    def __init__(self) -> None:
        super().__init__("account")

    def set(self, *assignments: str, answers: str | None = None, yes: bool = True) -> Result:
        more = ["--yes"] if yes else []
        return self.run("set", "alpha", *assignments, "--reason", "Christmas", "--json", *more, answers=answers)

    def requests(self, operation: str) -> int:
        return self.mirakl.requests[operation]


@pytest.fixture
def seller(desk: Desk) -> OwnSeller:
    return OwnSeller()


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "api_key_file"), (403, "PARTNER_SHOP_READ"), (404, "correct hostname"), (429, "try again tomorrow")],
)
def test_a_refused_read_says_what_to_do(seller: OwnSeller, status: int, cure: str) -> None:
    seller.mirakl.knobs.faults.append(Fault("A01", "answer", status=status))
    assert cure in seller.error("show", "alpha")


def test_a_shop_that_is_not_configured_is_no_shop(seller: OwnSeller) -> None:
    assert "no shop gamma" in seller.error("show", "gamma")


def test_a_second_read_on_one_day_is_not_made(seller: OwnSeller) -> None:
    assert seller.run("show", "alpha").exit_code == 0
    assert "possible again at" in seller.error("show", "alpha")
    assert seller.requests("A01") == 1


def test_the_last_read_account_is_shown_with_its_age_and_without_a_call_or_a_key(seller: OwnSeller) -> None:
    assert "no account is stored" in seller.error("show", "alpha", "--stored")
    live = json.loads(seller.run("show", "alpha", "--json").stdout)
    read_at = seller.clock.now().isoformat()
    seller.clock.advance(timedelta(hours=5).total_seconds())
    Path("alpha.key").unlink()
    stored = json.loads(seller.run("show", "alpha", "--stored", "--json").stdout)
    assert stored == {"read_at": read_at, "age": "5 h", "changed_since": ""} | live
    assert seller.run("show", "alpha", "--stored").stdout.splitlines()[1].split() == ["age", "5", "h"]
    assert seller.requests("A01") == 1


def test_the_last_read_account_names_what_was_changed_since(seller: OwnSeller) -> None:
    seller.run("show", "alpha")
    seller.clock.advance(3600)
    assert seller.set("shop_name=New", "web_site=").exit_code == 0
    stored = json.loads(seller.run("show", "alpha", "--stored", "--json").stdout)
    assert stored["shop_name"] == "Print House"
    assert stored["changed_since"] == "shop_name web_site by ops at 2026-03-01 13:00:00 UTC"
    seller.clock.advance(24 * 3600)
    seller.run("show", "alpha")
    assert json.loads(seller.run("show", "alpha", "--stored", "--json").stdout)["changed_since"] == ""


def test_the_read_of_a_check_is_stored_too_and_no_personal_data(seller: OwnSeller, desk: Desk) -> None:
    environment = Environment(seller.clock, "ops", seller.net)
    CliRunner().invoke(app, ["shops", "check", "alpha"], obj=environment, catch_exceptions=False)
    assert json.loads(seller.run("show", "alpha", "--stored", "--json").stdout)["shop_state"] == "OPEN"
    with desk.store.reading() as connection:
        assert "anary" not in str(connection.execute(sa.select(schema.shops.c.account)).all())


def test_another_shops_account_is_not_stored(seller: OwnSeller) -> None:
    seller.mirakl.account.fields["shop_id"] = 7
    seller.error("show", "alpha")
    assert "no account is stored" in seller.error("show", "alpha", "--stored")


@pytest.mark.parametrize("command", [("show", "alpha"), ("set", "alpha", "shop_name=X", "--reason", "x", "--yes")])
def test_the_account_of_another_shop_is_neither_shown_nor_changed(seller: OwnSeller, command: tuple[str, ...]) -> None:
    seller.mirakl.account.fields["shop_id"] = 7
    assert "the key belongs to shop 7" in seller.error(*command)
    assert seller.requests("A02") == 0
    assert "wrong-account" in json_of("shops", "list")[0]["paused"]


def test_the_account_is_shown_without_personal_data_and_bank_data(seller: OwnSeller) -> None:
    as_text = seller.run("show", "alpha")
    seller.clock.advance(timedelta(days=1).total_seconds())
    as_json = seller.run("show", "alpha", "--json")
    for result in (as_text, as_json):
        assert result.exit_code == 0
        assert "anary" not in result.output, "the contact's mail, and the owner of the bank account"
    account = json.loads(as_json.stdout)
    assert account["shop_state"] == "OPEN"
    assert account["kyc_status"] == "APPROVED"
    assert account["lead_time_to_ship"] == 3


@pytest.mark.parametrize(
    ("assignments", "why"),
    [
        (["email=a@b.example"], "email cannot be changed here; possible are closed_from"),
        (["payment_info=x"], "payment_info cannot be changed here"),
        (["shop_name"], "write it as FIELD=VALUE"),
        (["shop_name="], "shop_name cannot be empty"),
        (["closed_from=soon"], "closed_from: soon is no date"),
        (["closed_from=2026-12-24", "closed_to=2026-12-01"], "closed_to is not later than closed_from"),
        (["shipping_country=GB"], "no country code of three letters"),
        (["shop_name=A", "shop_name=B"], "shop_name is named twice"),
    ],
)
def test_a_field_that_cannot_be_set_so_is_refused_before_any_call(
    seller: OwnSeller, assignments: list[str], why: str
) -> None:
    assert why in seller.error("set", "alpha", *assignments, "--reason", "x", "--yes")
    assert not seller.mirakl.requests


def test_a_no_to_the_question_changes_nothing(seller: OwnSeller, desk: Desk) -> None:
    result = seller.set("shop_name=Mugs", answers="n\n", yes=False)
    assert result.exit_code == BAD_ANSWER
    assert "shop_name: Print House -> Mugs" in result.stderr
    assert seller.requests("A02") == 0
    assert audited(desk.store) == []


def test_only_the_named_fields_are_sent_and_the_change_is_audited(seller: OwnSeller, desk: Desk) -> None:
    result = seller.set("closed_from=2026-12-24T01:00:00+01:00", "closed_to=2027-01-02")
    assert json.loads(result.stdout) == [
        {"field": "closed_from", "value": "2026-12-24T00:00:00Z", "error": ""},
        {"field": "closed_to", "value": "2027-01-02T00:00:00Z", "error": ""},
    ]
    assert "closed_from: (empty) -> 2026-12-24T00:00:00Z" in result.stderr
    assert json.loads(seller.net.bodies[-1]) == {
        "closed_from": "2026-12-24T00:00:00Z",
        "closed_to": "2027-01-02T00:00:00Z",
    }
    assert audited(desk.store) == [Audited("ops", "account-set", "alpha closed_from closed_to", "Christmas")]


def test_a_field_without_a_value_is_cleared(seller: OwnSeller) -> None:
    seller.mirakl.account.fields["description"] = "Mugs"
    assert "description: Mugs -> (empty)" in seller.set("description=").stderr
    assert seller.mirakl.account.fields["description"] is None


def test_values_that_the_account_has_already_are_not_sent(seller: OwnSeller) -> None:
    result = seller.set("shop_name=Print House")
    assert json.loads(result.stdout) == []
    assert seller.requests("A02") == 0


def test_a_change_is_possible_if_the_account_was_read_today_and_a_second_change_is_not(seller: OwnSeller) -> None:
    seller.run("show", "alpha")
    result = seller.set("shop_name=Mugs")
    assert result.exit_code == 0
    day = f"{seller.clock.now():%Y-%m-%d %H:%M:%S}"
    assert f"shop_name: Print House (as read at {day} UTC) -> Mugs" in result.stderr
    assert "changed at Mirakl: shop_name. `shops account show --stored` names it" in result.stderr
    again = seller.set("shop_name=Cups")
    assert again.exit_code == BAD_ANSWER
    assert "A02 is possible again at" in again.stderr
    assert seller.mirakl.account.fields["shop_name"] == "Mugs"


def test_a_field_that_mirakl_refuses_is_shown_with_its_words(seller: OwnSeller) -> None:
    content = json.dumps({"errors": [{"code": "locked", "field": "shop_name", "message": "not editable"}]})
    seller.mirakl.knobs.faults.append(Fault("A02", "answer", status=200, content=content))
    result = seller.set("shop_name=Mugs", "web_site=https://mugs.example")
    assert result.exit_code == BAD_ANSWER
    assert [one["error"] for one in json.loads(result.stdout)] == ["locked: not editable", ""]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("A02", "answer", status=400), "A02 400"),
        (Fault("A02", "answer", status=500), "the fields may have changed"),
        (Fault("A02", "timeout_after"), "the fields may have changed"),
        (Fault("A02", "answer", status=200, content="<html>"), "the fields may have changed"),
    ],
)
def test_a_change_that_failed_says_whether_it_may_have_happened(seller: OwnSeller, fault: Fault, text: str) -> None:
    seller.mirakl.knobs.faults.append(fault)
    result = seller.set("shop_name=Mugs")
    assert result.exit_code == BAD_ANSWER
    assert text in result.stderr
