"""Wrong settings: the error of each names its file or variable and its key."""

from pathlib import Path

import pytest

from adapters.errors import ConfigError
from consumer.config import load
from tests.consumer.configs import GOOD, SIMULATED_OMS, error_text, shop, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[web\n", "FILE: is not TOML", id="no TOML"),
        pytest.param("", "FILE: shops: is missing", id="no shops"),
        pytest.param("[shops]\n", "FILE: shops: at least one", id="no shop"),
        pytest.param(GOOD + "[wep]\nport = 1\n", "FILE: wep: unknown key", id="unknown table"),
        pytest.param(GOOD + "[web]\nprot = 1\n", "FILE: web.prot: unknown key", id="unknown key"),
        pytest.param(shop(efects='"on"'), "FILE: shops.alpha.efects: unknown key", id="unknown key of a shop"),
        pytest.param(shop(shop_id=""), "FILE: shops.alpha.shop_id: is missing", id="missing key"),
        pytest.param(
            '[shops.alpha]\nhostname = "a.b"\nshop_id = 1\napi_key_file = "k"\n',
            "FILE: shops.alpha.oms: is missing",
            id="missing table",
        ),
        pytest.param(
            GOOD + 'custom_fields = { text = ":MiraklOrderMessage" }\n',
            "FILE: shops.alpha.oms.custom_fields.text: is the name of an attribute that orderflow makes itself",
            id="name of our own attribute",
        ),
        pytest.param(
            GOOD + '[intake]\nport = 1\nkey_file = "k"\n',
            "FILE: intake: certificate_file and key_file go together",
            id="a key without its certificate",
        ),
        pytest.param(GOOD + '[intake]\nhost = "::"\n', "FILE: intake: host, certificate", id="intake without a port"),
        pytest.param(GOOD + "[web]\nport = 70000\n", "FILE: web.port: ", id="number out of range"),
        pytest.param(GOOD.replace("2104", '"many"'), "FILE: shops.alpha.shop_id: ", id="no number"),
        pytest.param(GOOD.replace("shops.alpha", 'shops."A b"'), "FILE: shops.A b: ", id="name of a shop"),
        pytest.param(
            shop(hostname='"https://alpha.mirakl.net"'),
            "FILE: shops.alpha.hostname: is a host name alone, without https://",
            id="scheme",
        ),
        pytest.param(
            shop(hostname='"alpha.mirakl.net/api"'),
            "FILE: shops.alpha.hostname: is a host name alone, without a path",
            id="path",
        ),
        pytest.param(
            shop(hostname='"alpha.mirakl.net:443"'),
            "FILE: shops.alpha.hostname: is a host name alone, without a port",
            id="port",
        ),
        pytest.param(shop(hostname='"al pha"'), "FILE: shops.alpha.hostname: is not a host name", id="blank"),
        pytest.param(shop(hostname='""'), "FILE: shops.alpha.hostname: is not a host name", id="empty host name"),
        pytest.param(shop(hostname=""), "FILE: shops.alpha: needs a hostname", id="no host name"),
        pytest.param(shop(base_url='"alpha"'), "FILE: shops.alpha.base_url: has to begin with http", id="base_url"),
        pytest.param(
            shop(poll_interval_seconds="59"),
            "FILE: shops.alpha: poll_interval_seconds has to be 60 or more",
            id="too often",
        ),
        pytest.param(shop(currency='"pounds"'), "FILE: shops.alpha.currency: ", id="currency"),
        pytest.param(
            shop(payment_workflows='["PAY_LATER"]'), "FILE: shops.alpha.payment_workflows", id="payment workflow"
        ),
        pytest.param(shop(effects='"yes"'), "FILE: shops.alpha.effects: ", id="effects"),
        pytest.param(shop(acceptance='"known-skus"'), "FILE: shops.alpha: acceptance = known-skus", id="no list"),
        pytest.param(
            GOOD + '[store]\nurl = "postgresql+psycopg://me@host/db"\n',
            'FILE: log.kind: "embedded" is for one process on SQLite',
            id="embedded log and many processes",
        ),
        pytest.param(
            GOOD + '[store]\nurl = "nowhere"\n', "FILE: store.url: is not a database URL; examples: ", id="no database"
        ),
        pytest.param(
            GOOD + '[store]\nurl = "postgresql://host:port/db"\n',
            "FILE: store.url: is not a database URL",
            id="no port",
        ),
        pytest.param(
            GOOD + '[topics]\nsnapshots = "one"\noms_events = "one"\n', "FILE: topics: each", id="one topic for two"
        ),
        pytest.param(
            GOOD + '[kafka]\nsasl_plain_password = "hunter2"\n',
            "FILE: kafka.sasl_plain_password: unknown key",
            id="a secret in the file",
        ),
        pytest.param(
            GOOD + '[kafka]\nsecurity_protocol = "SASL_SSL"\n',
            "FILE: kafka: security_protocol = SASL_SSL needs sasl_mechanism",
            id="no mechanism",
        ),
        pytest.param(
            GOOD + '[kafka]\nsasl_mechanism = "PLAIN"\n', "FILE: kafka: sasl_mechanism has no", id="no protocol"
        ),
        pytest.param(
            GOOD + "[kafka]\nheartbeat_interval_ms = 30000\n",
            "FILE: kafka: heartbeat_interval_ms has to be a third",
            id="too few heartbeats",
        ),
        pytest.param(GOOD + "[kafka]\nbootstrap_servers = []\n", "FILE: kafka.bootstrap_servers: ", id="no brokers"),
        pytest.param(
            GOOD + '[store]\nurl = "mysql://db/orderflow"\n',
            "FILE: store.url: has to begin with sqlite://",
            id="no store",
        ),
        pytest.param(GOOD + '[log]\nkind = "redis"\n', "FILE: log.kind: ", id="no log"),
        pytest.param(
            GOOD + GOOD.replace("alpha", "beta"),
            "FILE: shops.beta.oms.external_ref_prefix: alpha and beta share the company 99999",
            id="two shops, one company",
        ),
        pytest.param(
            GOOD + GOOD.replace("alpha", "beta") + 'external_ref_prefix = "B"\n',
            'FILE: shops.beta.oms.external_ref_prefix: alpha and beta share the company 99999, and "B" begins with ""',
            id="one prefix begins with the other",
        ),
        pytest.param(
            GOOD
            + 'external_ref_prefix = "A-"\nformer_external_ref_prefixes = [""]\n'
            + GOOD.replace("alpha", "beta")
            + 'external_ref_prefix = "B-"\nformer_external_ref_prefixes = ["X-", ""]\n',
            'FILE: shops.beta.oms: alpha and beta share the company 99999, and both have or had the prefix ""',
            id="two shops had one prefix",
        ),
        pytest.param(
            GOOD + 'external_ref_prefix = "FR-2"\n' + GOOD.replace("alpha", "beta") + 'external_ref_prefix = "FR-"\n',
            'FILE: shops.beta.oms.external_ref_prefix: alpha and beta share the company 99999, and "FR-2" begins with',
            id="the first prefix begins with the second",
        ),
        pytest.param(
            GOOD + GOOD.replace("alpha]", "beta]").replace("alpha.oms]", "beta.oms]").replace("99999", "88888"),
            "FILE: shops.beta: is the same account as shops.alpha",
            id="two names, one account",
        ),
        pytest.param(
            shop(base_url='"https://127.0.0.1"'),
            "FILE: shops.alpha: has a hostname and a base_url: only one",
            id="two addresses of a shop",
        ),
        *(
            pytest.param(
                shop(hostname="", base_url=f'"{address}"'),
                "FILE: shops.alpha.base_url: has to begin with https://, because the key goes with each call",
                id=address,
            )
            for address in (
                "http://alpha.mirakl.net",
                "http://127.0.0.1.example",
                "http://localhost.example",
                "http://[::2]:80",
                "http://10.0.0.1",
            )
        ),
        pytest.param(
            GOOD + '[oms]\nbase_url = "http://oms.example"\n',
            "FILE: oms.base_url: has to begin with https://",
            id="the OMS without TLS",
        ),
        pytest.param(
            GOOD + "[http]\nsimulated = true\n",
            "FILE: oms.base_url: has to begin with http://, because http.simulated says that it is a simulator",
            id="a real OMS in a demo",
        ),
        pytest.param(
            GOOD + SIMULATED_OMS,
            "FILE: shops.alpha.base_url: has to begin with http://, because http.simulated says that it is a simulator",
            id="a real shop in a demo",
        ),
        pytest.param(
            shop(hostname="", base_url='"https://alpha.example"', poll_interval_seconds="0.001"),
            "FILE: shops.alpha: poll_interval_seconds has to be 60 or more",
            id="too often, by base_url",
        ),
        pytest.param(
            shop(base_url='"http://user:word@alpha"'),
            "FILE: shops.alpha.base_url: has to begin with http:// or https:// and name a host, without user",
            id="password in an address",
        ),
        pytest.param(shop(hostname='"alpha..net"'), "FILE: shops.alpha.hostname: is not a host name", id="two dots"),
        pytest.param(shop(shop_id="-5"), "FILE: shops.alpha.shop_id: ", id="negative shop"),
        pytest.param(shop(poll_interval_seconds="inf"), "FILE: shops.alpha.poll_interval_seconds: ", id="for ever"),
        pytest.param(
            GOOD + '[oms]\nduplicate_message_regex = "("\n',
            "FILE: oms.duplicate_message_regex: is not a regular expression",
            id="regex",
        ),
        *(
            pytest.param(
                GOOD + f'time_zone = "{zone}"\n',
                "FILE: shops.alpha.oms.time_zone: is no time zone of the IANA database",
                id=f"zone {zone}",
            )
            for zone in ("Mars/Base", "../UTC", "Europe", "")
        ),
        pytest.param("_env_file = 'x'\n" + GOOD, "FILE: _env_file: unknown key", id="an option of the library"),
    ],
)
def test_an_error_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    assert error_text(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql+psycopg://me:hunter2@host/db", id="beside the user"),
        pytest.param("postgresql+psycopg://me:hunter2%40@host/db", id="quoted"),
        pytest.param("postgresql+psycopg://me@host/db?connect_timeout=5&password=hunter2", id="in the query"),
        pytest.param("postgresql+psycopg://me@host/db?p%61ssword=hunter2", id="in the query, quoted"),
        pytest.param("postgresql+psycopg://me@host/db?sslpassword=hunter2", id="of a key"),
        pytest.param("sqlite:///orderflow.db?password=hunter2", id="of a file"),
    ],
)
def test_a_password_anywhere_in_the_url_of_the_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    text = GOOD + '[log]\nkind = "kafka"\n'
    of_file = error_text(tmp_path, f'{text}[store]\nurl = "{url}"\n')
    assert of_file == "FILE: store.url: a password belongs into a file: password_file"
    monkeypatch.setenv("ORDERFLOW_STORE__URL", url)
    of_environment = error_text(tmp_path, text)
    variable = "environment ORDERFLOW_STORE__URL"
    assert of_environment == f"{variable}: store.url: a password belongs into a file: password_file"


@pytest.mark.parametrize("url", ["postgresql+psycopg://me@host/password?options=-c%20password_encryption%3Dmd5"])
def test_a_url_that_holds_the_word_password_and_no_password_is_accepted(tmp_path: Path, url: str) -> None:
    assert load(written(tmp_path, GOOD + f'[log]\nkind = "kafka"\n[store]\nurl = "{url}"\n')).store.url == url


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    lines = error_text(tmp_path, shop(shop_id="", efects='"on"')).splitlines()
    assert lines == ["FILE: shops.alpha.shop_id: is missing", "FILE: shops.alpha.efects: unknown key"]


def test_no_error_shows_a_value(tmp_path: Path) -> None:
    assert "hunter2" not in error_text(tmp_path, shop(api_key='"hunter2"', hostname='"https://hunter2"'))


def test_the_error_of_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file; `orderflow init`"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_not_text_and_a_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"orderflow\.toml: cannot be read"):
        load(tmp_path / "orderflow.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_an_error_of_the_environment_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERFLOW_WEB__PORT", "many")
    assert error_text(tmp_path, GOOD).startswith("environment ORDERFLOW_WEB__PORT: web.port: ")


def test_an_error_of_a_whole_table_names_the_prefix_because_the_library_does_not_tell_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERFLOW_SHOPS", "x")
    assert error_text(tmp_path, GOOD).startswith('environment ORDERFLOW_*: error parsing value for field "shops"')


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ORDERFLOW_TYPO", "1", "environment ORDERFLOW_TYPO: unknown key typo"),
        ("orderflow_web__port", "many", "environment orderflow_web__port: web.port: "),
        ("ORDERFLOW_WEB", '{"port": "many"}', "environment ORDERFLOW_WEB: web.port: "),
        (
            "ORDERFLOW_SHOPS__ALPHA__POLL_INTERVAL_SECONDS",
            "5",
            "FILE with environment ORDERFLOW_SHOPS__ALPHA__POLL_INTERVAL_SECONDS: shops.alpha: poll_interval_seconds",
        ),
    ],
)
def test_an_error_of_the_environment_names_the_variable_as_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert error_text(tmp_path, GOOD).startswith(expected)


def test_variables_of_the_test_suite_are_not_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERFLOW_TEST_KAFKA", "127.0.0.1:9092")
    load(written(tmp_path, GOOD))
