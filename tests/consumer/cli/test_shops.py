"""`orderflow shops`: the switches of a shop's effects."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import structlog
from typer.testing import CliRunner, Result

from adapters.simulators.books import Books
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import error_of, json_of, output_of, run
from tests.consumer.operations.desk import Desk
from tests.consumer.rig import InProcess
from tests.support import StillClock


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


def test_the_list_says_who_paused_what_since_when_and_why(desk: Desk) -> None:
    output_of("shops", "pause", "alpha", "--only", "import", "--reason", "the OMS is moved", "--who", "ana", "--yes")
    output_of("shops", "pause", "alpha", "--only", "import", "--reason", "once more", "--yes")
    alpha, beta = json_of("shops", "list")
    (pause,) = alpha["pauses"]
    assert (pause["groups"], pause["who"], pause["why"]) == (["import"], "ana as ops", "the OMS is moved")
    assert pause["since"] == "2026-03-01T12:00:00+00:00"
    assert beta["pauses"][0]["why"] == 'effects = "off" in the configuration'
    assert "import by ana as ops since 2026-03-01 12:00 UTC: the OMS is moved" in output_of("shops", "list")
    output_of("shops", "resume", "alpha", "--only", "import", "--reason", "x", "--yes")
    assert json_of("shops", "list")[0]["pauses"] == []


def test_a_resumption_says_how_many_calls_go_out_and_which_are_past_their_deadline(desk: Desk) -> None:
    desk.shows("SHIPPING", ship_by=desk.clock.now() - timedelta(hours=1))
    output_of("shops", "pause", "alpha", "--reason", "x", "--yes")
    asked = run("shops", "resume", "alpha", "--reason", "x", answers="n\n").stderr
    assert "these calls wait and go out: 1 POST /order (import_order, 1 past the deadline)?" in asked
    asked = run("shops", "resume", "alpha", "--only", "ship", "--reason", "x", answers="n\n").stderr
    assert "resume ship of alpha: no call waits?" in asked
    (calls,) = json_of("shops", "resume", "alpha", "--reason", "x", "--yes")["calls"]
    assert (calls["kind"], calls["calls"], calls["due_now"], calls["past_deadline"]) == ("import_order", 1, 1, 1)
    assert calls["nearest_deadline"] == "2026-03-01T11:00:00+00:00"


def test_a_pause_says_how_many_calls_stay_and_what_goes_on(desk: Desk) -> None:
    ends = "until `shops resume`; decisions are kept, and Mirakl's deadlines go on? [y/N]:"
    asked = run("shops", "pause", "alpha", "--reason", "x", answers="n\n").stderr
    assert f"pause every effect of alpha: no call waits now, and all that come stay, {ends}" in asked
    desk.shows("SHIPPING")
    asked = run("shops", "pause", "alpha", "--only", "import", "--reason", "x", answers="n\n").stderr
    says = "pause import of alpha: these calls stay, and all that come: 1 POST /order (import_order)"
    assert f"{says}, {ends}" in asked


def test_a_second_pause_says_since_when_and_by_whom_it_is_paused(desk: Desk) -> None:
    output_of("shops", "pause", "alpha", "--only", "import", "--reason", "the OMS is moved", "--who", "ana", "--yes")
    by_ana = "import by ana as ops since 2026-03-01 12:00 UTC: the OMS is moved"
    asked = run("shops", "pause", "alpha", "--only", "import", "--reason", "x", answers="n\n").stderr
    assert f"pause import of alpha: it is paused already, and this changes nothing ({by_ana}); " in asked
    asked = run("shops", "pause", "alpha", "--reason", "x", answers="n\n").stderr
    assert f"pause every effect of alpha: a part is paused already ({by_ana}); " in asked
    assert (
        "paused already" not in run("shops", "pause", "alpha", "--only", "ship", "--reason", "x", answers="n\n").stderr
    )
    assert "it is paused already" in run("shops", "pause", "beta", "--reason", "x", answers="n\n").stderr


def test_a_switch_that_cannot_be_changed_is_a_bad_answer(desk: Desk) -> None:
    error = error_of("shops", "resume", "beta", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert 'shops.beta.effects is "off" in the configuration' in error


def test_a_shop_that_is_not_known_is_named_before_anything_is_asked(desk: Desk) -> None:
    for act in ("pause", "resume"):
        error = error_of("shops", act, "gamma", "--reason", "x", code=BAD_ANSWER)
        assert error == "orderflow: there is no shop gamma; these are: alpha, beta\n"


def test_a_question_without_an_answer_says_how_it_is_avoided(desk: Desk) -> None:
    result = run("shops", "pause", "alpha", "--reason", "x", answers="")
    assert result.exit_code == BAD_ANSWER
    assert "there was no answer, so nothing was done; with --yes nothing is asked" in result.stderr
    assert "no answer" not in run("shops", "pause", "alpha", "--reason", "x", answers="n\n").stderr


def checked(marketplace: MiraklSimulator, *arguments: str) -> Result:
    environment = Environment(StillClock(), "ops", InProcess(mirakl_app(marketplace)))
    return CliRunner().invoke(app, ["shops", "check", *arguments], obj=environment, catch_exceptions=False)


def test_a_wrong_account_is_a_bad_answer_and_pauses_the_shop(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    marketplace.account.fields["shop_id"] = 7
    result = checked(marketplace, "alpha", "--json")
    assert result.exit_code == BAD_ANSWER
    assert [(one["shop"], one["field"], one["found"]) for one in json.loads(result.stdout)] == [
        ("alpha", "shop_id", "7")
    ]
    assert "wrong-account" in json_of("shops", "list")[0]["paused"]
    again = checked(marketplace, "alpha", "--json")
    assert again.exit_code == BAD_ANSWER
    assert [one["found"] for one in json.loads(again.stdout)] == ["another shop's"]
    assert "A01 is possible again at 2026-03-02 12:00:00 UTC" in again.stderr


def test_a_second_check_on_one_day_compares_the_account_as_it_was_read(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    marketplace.account.fields["shop_state"] = "CLOSE"
    for _ in range(2):
        result = checked(marketplace, "alpha", "--json")
        assert [one["field"] for one in json.loads(result.stdout)] == ["shop_state"]
        assert result.exit_code == 0
    assert "compared as read at 2026-03-01 12:00:00 UTC" in result.stderr
    assert marketplace.requests["A01"] == 1


class Talkative(InProcess):
    """Logs a line for each request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        structlog.get_logger("test").warning("asked", path=request.url.path)
        return super().handle_request(request)


def test_a_log_line_does_not_break_the_json_of_a_command(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    environment = Environment(StillClock(), "ops", Talkative(mirakl_app(marketplace)))
    arguments = ["shops", "check", "alpha", "--json", "--verbose"]
    result = CliRunner().invoke(app, arguments, obj=environment, catch_exceptions=False)
    assert json.loads(result.stdout) == []
    assert [json.loads(line)["event"] for line in result.stderr.splitlines()] == ["asked", "asked"]


def with_carriers(**carriers: str) -> None:
    """Give the configured shop alpha a map of carriers."""
    pairs = ", ".join(f'"{ours}" = "{theirs}"' for ours, theirs in carriers.items())
    file = Path("orderflow.toml")
    file.write_text(file.read_text().replace("[shops.alpha]\n", f"[shops.alpha]\ncarriers = {{ {pairs} }}\n"))


@pytest.mark.parametrize("alternatives", [True, False])
def test_a_carrier_of_the_map_that_mirakl_does_not_know_is_shown(desk: Desk, alternatives: bool) -> None:
    """Such a carrier is wrong if the marketplace allows no free text."""
    Path("alpha.key").write_text(ALPHA.api_key)
    with_carriers(DPD=ALPHA.carriers[0].label.upper(), Yodel="Jodel")
    marketplace = MiraklSimulator(replace(ALPHA, alternative_carriers=alternatives), Books(), desk.clock.now)
    result = checked(marketplace, "alpha", "--json")
    assert [(one["found"], one["wrong"]) for one in json.loads(result.stdout)] == [("Yodel = Jodel", not alternatives)]
    assert result.exit_code == (0 if alternatives else BAD_ANSWER)
    again = checked(marketplace, "alpha")
    assert "SH21 is possible again at" in again.stderr
    assert "the carriers are not compared" in again.stderr
    assert again.exit_code == 0
    assert marketplace.requests["SH21"] == 1


def test_a_read_of_carriers_that_is_refused_is_not_told_as_the_account(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    with_carriers(Yodel="Jodel")
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    marketplace.knobs.faults.append(Fault("SH21", "answer", status=401))
    (one,) = json.loads(checked(marketplace, "alpha", "--json").stdout)
    assert (one["field"], one["wrong"]) == ("SH21", True)


@pytest.mark.parametrize("options", [(), ("--verbose",)])
@pytest.mark.parametrize("status", [403, 500])
def test_carriers_that_cannot_be_read_are_not_wrong(desk: Desk, status: int, options: tuple[str, ...]) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    with_carriers(Yodel="Jodel")
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    marketplace.knobs.faults.append(Fault("SH21", "answer", status=status))
    result = checked(marketplace, "alpha", "--json", *options)
    (one,) = json.loads(result.stdout)
    assert one["field"] == "SH21"
    assert result.exit_code == 0
    assert ("catalog_not_read" in result.stderr) is bool(options), "a person reads findings, and no log lines"


def test_without_a_map_no_carriers_are_read(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    marketplace = MiraklSimulator(ALPHA, Books(), desk.clock.now)
    assert checked(marketplace, "alpha").exit_code == 0
    assert marketplace.requests["SH21"] == 0


def test_an_account_that_fits_is_no_bad_answer(desk: Desk) -> None:
    Path("alpha.key").write_text(ALPHA.api_key)
    result = checked(MiraklSimulator(ALPHA, Books(), desk.clock.now), "alpha", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []
    assert "no shop gamma" in error_of("shops", "check", "gamma", code=BAD_ANSWER)
