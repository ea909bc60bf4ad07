"""`orderflow doctor`: each fault is one line, and no other line fails."""

import json
import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
import trustme
from kafka import codec

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.orders import ALPHA
from adapters.simulators.serve import serve, with_controls
from consumer import config
from consumer.config import LogTable
from consumer.operations.doctor import machine, table
from consumer.operations.doctor.examine import Subject, examine
from consumer.operations.doctor.findings import Check, ok
from tests.consumer.operations.ward import Net, Ward, Where
from tests.engines import make_certificates
from tests.support import LONG


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_nothing_fails_where_nothing_is_wrong(ward: Ward) -> None:
    lines = ward.lines()
    assert [one for one in lines if one["result"] in ("warn", "fail")] == []
    skipped = {(one["check"], one["found"]) for one in lines if one["result"] == "skipped"}
    assert skipped == {("oms.clock", "the answer names no time")}  # the simulated OMS sends no Date
    assert ward.oms.books.effects() == ()
    assert {one["check"] for one in lines} == {name for name, _ in table.names() if not name.startswith("kafka.")}


# -- Faults ------------------------------------------------------------------------------------------------------

Seed = Callable[[Ward], object]


def an_answer(status: int, text: str = "", host: str = "alpha.example") -> Seed:
    """Every call to a host gets this answer."""

    def seed(ward: Ward) -> None:
        assert ward.net is not None
        ward.net.hook = lambda request: httpx.Response(status, text=text) if request.url.host == host else None

    return seed


def wrong_pair(ward: Ward) -> None:
    first, other = (make_certificates(ward.folder / name) for name in ("first", "other"))
    certificate = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes()
    (ward.folder / "wrong.pem").write_bytes(certificate)
    other.keystore.chmod(0o600)
    lines = f'certificate_file = "wrong.pem"\nkey_file = "{other.keystore}"\nport = 0'
    ward.set("intake", lines)
    first.keystore.chmod(0o600)


def not_pem(ward: Ward) -> None:
    ward.write("ca.pem", "none")
    ward.set("http", 'ca_file = "ca.pem"')


def old_schema(ward: Ward) -> None:
    (ward.folder / "orderflow.db").unlink()
    ward.write("orderflow.db", "")


def later_schema(ward: Ward) -> None:
    with closing(sqlite3.connect(ward.folder / "orderflow.db")) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(schema_versions)")]
        values = ", ".join("'9999'" for _ in columns)
        connection.execute(f"INSERT INTO schema_versions ({', '.join(columns)}) VALUES ({values})")
        connection.commit()


def account(field: str, value: object) -> Seed:
    return lambda ward: ward.mirakl["alpha"].account.fields.update({field: value})


def no_free_text(ward: Ward) -> None:
    ward.set("shops.alpha", 'carriers = { "Yodel" = "Jodel" }')
    ward.mirakl["alpha"].marketplace = replace(ALPHA, alternative_carriers=False)


def another_time(ward: Ward) -> None:
    text = format_datetime(ward.clock.now() + timedelta(minutes=5), usegmt=True)
    assert ward.net is not None
    ward.net.hook = lambda request: (
        httpx.Response(200, json={}, headers={"Date": text})
        if request.url.path == "/api/platform/configuration" and request.url.host == "alpha.example"
        else None
    )


def same_secret(ward: Ward) -> None:
    ward.write("beta-callback.key", (ward.folder / "alpha-callback.key").read_text())


FAULTS: dict[str, tuple[Seed, Where]] = {
    "a secret is missing": (lambda w: (w.folder / "alpha.key").unlink(), ("secrets", "")),
    "a secret is empty": (lambda w: w.write("alpha.key", ""), ("secrets", "")),
    "a secret has two lines": (lambda w: w.write("alpha.key", "one\ntwo"), ("secrets", "")),
    "everybody may read a secret": (lambda w: (w.folder / "alpha.key").chmod(0o644), ("file_modes", "")),
    "a callback secret is short": (lambda w: w.write("alpha-callback.key", "short"), ("callback_secrets", "")),
    "two shops have one callback secret": (same_secret, ("callback_secrets", "")),
    "a list of SKUs is missing": (
        lambda w: w.set("shops.alpha", 'acceptance = "known-skus"\nknown_skus_file = "alpha.skus"'),
        ("other_files", ""),
    ),
    "a certificate is that of another key": (wrong_pair, ("other_files", "")),
    "the authorities are no PEM": (not_pem, ("ca_file", "")),
    "the proxy does not run": (lambda w: w.set("http", 'proxy = "http://127.0.0.1:1"'), ("proxy", "")),
    "the address is not of this machine": (lambda w: w.set("web", 'host = "192.0.2.1"'), ("ports", "")),
    "the folder of the store is missing": (lambda w: w.change("sqlite:///", "sqlite:///gone/"), ("store.reach", "")),
    "there is no store": (lambda w: (w.folder / "orderflow.db").unlink(), ("store.reach", "")),
    "the schema is missing": (old_schema, ("store.schema", "")),
    "a later version forbids this one": (later_schema, ("store.schema", "")),
    "the key of a shop is wrong": (lambda w: w.write("alpha.key", "another"), ("mirakl.key", "alpha")),
    "another host answers 404": (an_answer(404), ("mirakl.key", "alpha")),
    "another host answers a page": (an_answer(200, "<html>"), ("mirakl.key", "alpha")),
    "the marketplace is away": (an_answer(503), ("mirakl.key", "alpha")),
    "shop_id is another seller's": (
        lambda w: w.change(f"shop_id = {ALPHA.shop_id}", "shop_id = 1"),
        ("mirakl.account", "alpha"),
    ),
    "the key is another shop's": (account("shop_id", 7), ("mirakl.account", "alpha")),
    "the shop is suspended": (account("shop_state", "SUSPENDED"), ("mirakl.account", "alpha")),
    "the account has no currency": (account("currency_iso_code", None), ("mirakl.account", "alpha")),
    "Mirakl does not know a carrier": (no_free_text, ("mirakl.carriers", "alpha")),
    "the clock is wrong": (another_time, ("mirakl.clock", "alpha")),
    "the OMS does not know the company": (
        lambda w: w.change("company_ref_id = 99001", "company_ref_id = 4"),
        ("oms.key", "alpha"),
    ),
    "no OMS answers": (an_answer(404, host="oms.example"), ("oms.key", "alpha")),
    "the OMS is away": (an_answer(502, "<html>", "oms.example"), ("oms.key", "alpha")),
    "the OMS redirects": (an_answer(302, host="oms.example"), ("oms.key", "alpha")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(ward: Ward, fault: str) -> None:
    seed, where = FAULTS[fault]
    seed(ward)
    fails = ward.found("fail")
    assert where in fails
    assert {check for check, _ in fails} == {where[0]}


def test_a_wrong_key_of_the_oms_is_one_line_for_each_shop_that_has_it(ward: Ward) -> None:
    ward.write("oms.key", "another")
    assert ward.found("fail").keys() == {("oms.key", "alpha"), ("oms.key", "beta")}
    assert ward.oms.books.effects() == ()


def test_the_port_of_another_program_is_a_line(ward: Ward) -> None:
    with socket.create_server(("127.0.0.1", ward.port)):
        assert ward.found("fail").keys() == {("ports", "")}


def test_a_store_that_somebody_else_writes_for_long_is_a_line(ward: Ward) -> None:
    with closing(sqlite3.connect(ward.folder / "orderflow.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert ward.found("fail").keys() == {("store.rights", "")}


def test_a_codec_that_is_not_installed_is_a_line(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "has_snappy", lambda: False)
    (found,) = machine.codecs(config.load(ward.file).model_copy(update={"log": LogTable(kind="kafka")}))
    assert (found.result, found.text) == ("fail", "not installed: snappy")


def test_the_embedded_log_needs_no_codec(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line about a library of Kafka costs time at night where there is no Kafka."""
    monkeypatch.setattr(codec, "has_snappy", lambda: False)
    assert ward.found("fail") == {}


def test_a_database_that_everybody_may_read_is_told(ward: Ward) -> None:
    (ward.folder / "orderflow.db").chmod(0o644)
    assert ward.found("warn").keys() == {("file_modes", "")}


def test_two_callback_secrets_in_one_line_are_told(ward: Ward) -> None:
    ward.write("alpha-callback.key", "0123456789abcdef" * 8 + "\n")
    ((where, what),) = ward.found("warn").items()
    assert where == ("callback_secrets", "")
    assert "has 128 characters, perhaps two secrets" in what


def test_a_host_that_nobody_listens_at_is_a_line(ward: Ward) -> None:
    """Over the network, because only there a connection is tried by hand."""
    ward.net = None
    ward.change('"https://oms.example"', '"http://127.0.0.1:1"')
    for name in ("alpha", "beta"):
        ward.change(f'"https://{name}.example"', '"http://127.0.0.1:1"')
    fails = ward.found("fail")
    assert fails.keys() == {(f"{system}.reach", shop) for system in ("mirakl", "oms") for shop in ("alpha", "beta")}
    assert set(fails.values()) == {"127.0.0.1:1: refused"}


def test_a_remote_that_is_no_simulator_fails_where_the_configuration_says_so(ward: Ward) -> None:
    """The address 0.0.0.0 is this machine, and by its name not loopback."""
    ward.net = None
    servers = {
        "oms": serve(with_controls(ward.oms)),
        "alpha": serve(with_controls(ward.mirakl["alpha"])),
        "beta": serve(mirakl_app(ward.mirakl["beta"])),  # a Mirakl without the endpoints of a simulator
    }
    for name, server in servers.items():
        ward.change(f'"https://{name}.example"', f'"{server.url.replace("127.0.0.1", "0.0.0.0")}"')
    ward.set("http", "simulated = true")
    fails, warned = ward.found("fail"), ward.found("warn")
    for server in servers.values():
        server.stop()
    assert fails.keys() == {("mirakl.reach", "beta")}
    assert fails["mirakl.reach", "beta"].endswith("is no simulator, and http.simulated sends it the key unencrypted")
    assert {("mirakl.reach", "alpha"), ("oms.reach", "alpha"), ("oms.reach", "beta")} <= warned.keys()


def test_a_host_without_a_trusted_certificate_is_a_line(ward: Ward) -> None:
    ward.net = None
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=_hang_up, args=(plain,), daemon=True).start()
        address = f'"https://127.0.0.1:{plain.getsockname()[1]}"'
        ward.change('"https://oms.example"', address)
        for name in ("alpha", "beta"):
            ward.change(f'"https://{name}.example"', address)
        fails = ward.found("fail")
    assert fails.keys() == {(f"{system}.reach", shop) for system in ("mirakl", "oms") for shop in ("alpha", "beta")}
    assert all(text.endswith(": tls") for text in fails.values())


def _hang_up(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


# -- Calls that are allowed once a day ---------------------------------------------------------------------------


def test_a_second_run_of_the_day_makes_no_second_a01(ward: Ward) -> None:
    ward.set("shops.alpha", 'carriers = { "DPD" = "DPDUK" }')
    ward.mirakl["alpha"].account.fields["shop_state"] = "SUSPENDED"
    first = ward.found("fail")
    assert ward.found("fail") == first  # the account as it was read counts
    assert first.keys() == {("mirakl.account", "alpha")}
    again = ward.found("skipped")
    assert "SH21 is possible again at" in again["mirakl.carriers", "alpha"]
    assert (ward.mirakl["alpha"].requests["A01"], ward.mirakl["alpha"].requests["SH21"]) == (1, 1)
    assert ward.mirakl["alpha"].requests["PC01"] > 1  # Mirakl does not limit it


def test_a_key_of_another_shop_fails_also_in_the_second_run_of_the_day(ward: Ward) -> None:
    ward.mirakl["alpha"].account.fields["shop_id"] = 7
    for _ in range(2):
        assert ward.found("fail").keys() == {("mirakl.account", "alpha")}
    assert ward.mirakl["alpha"].requests["A01"] == 1


def test_an_account_that_could_not_be_read_today_is_skipped_for_the_day(ward: Ward) -> None:
    ward.mirakl["alpha"].knobs.faults.append(Fault("A01", "503"))
    assert ward.found("fail").keys() == {("mirakl.account", "alpha")}
    assert "mirakl.account" in {check for check, _ in ward.found("skipped")}


def test_without_a_store_no_call_is_made_that_is_allowed_once_a_day(ward: Ward) -> None:
    (ward.folder / "orderflow.db").unlink()
    assert "the store" in ward.found("skipped")["mirakl.account", "alpha"]
    assert ward.mirakl["alpha"].requests["A01"] == 0
    assert not (ward.folder / "orderflow.db").exists()


# -- The command -------------------------------------------------------------------------------------------------


def test_a_configuration_that_cannot_be_read_ends_with_2(ward: Ward) -> None:
    ward.change("[oms]", "[oms]\nnonsense = 1")
    result = ward.ask()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "oms.nonsense: unknown key" in result.stderr
    result = ward.ask("--json")
    assert result.exit_code == 2
    assert [one["check"] for one in json.loads(result.stdout)] == ["configuration"]


def test_each_line_of_text_says_what_is_wrong_and_what_to_do(ward: Ward) -> None:
    ward.write("alpha.key", "another")
    result = ward.ask()
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("FAIL"))
    assert re.fullmatch(r"FAIL +mirakl\.key +alpha +PC01: 401; the key is wrong: .+", line)
    assert ALPHA.api_key not in result.stdout


def test_a_key_that_may_not_read_the_features_is_known(ward: Ward) -> None:
    def forbid(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(403) if request.url.path == "/api/platform/configuration" else None

    assert isinstance(ward.net, Net)
    ward.net.hook = forbid
    assert ward.found("fail") == {}
    assert "403" in ward.found("ok")["mirakl.key", "alpha"]


# -- Bounds ------------------------------------------------------------------------------------------------------


def test_a_check_without_an_end_stops_no_other_subject() -> None:
    for_ever, closed = threading.Event(), threading.Event()

    def hang() -> list[object]:
        for_ever.wait(LONG)
        return []

    slow = Subject("slow", [Check("first", lambda: ok("yes")), Check("hangs", hang), Check("next", list)], closed.set)  # type: ignore[arg-type]
    lines = examine([slow, Subject("quick", [Check("works", lambda: ok("yes"))])], limit_seconds=0.2)
    for_ever.set()
    assert [(one.of, one.check, one.result) for one in lines] == [
        ("slow", "first", "ok"),
        ("slow", "hangs", "fail"),
        ("slow", "next", "skipped"),
        ("quick", "works", "ok"),
    ]
    assert closed.is_set()


def test_a_check_that_raises_is_a_line_and_stops_no_other() -> None:
    def broken() -> list[object]:
        raise ZeroDivisionError("canary")

    checks = [Check("breaks", broken), Check("needs it", list, "breaks"), Check("goes on", lambda: ok("yes"))]  # type: ignore[arg-type]
    lines = examine([Subject("", checks)])
    assert [one.result for one in lines] == ["fail", "skipped", "ok"]
    assert "canary" not in repr(lines)


def test_the_checks_of_a_subject_name_checks_that_come_before() -> None:
    names = [name for name, _ in table.names()]
    assert len(set(names)) == len(names)
    assert all(meaning for _, meaning in table.names())
    assert os.sep not in "".join(names)
