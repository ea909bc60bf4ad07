"""Right settings: where a value comes from, what its default is, and whom it reaches."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.errors import ConfigError
from adapters.remotes.kornitx_order import OrderRules
from consumer import config
from consumer.config import KafkaOption, KafkaTable, Settings, example, load
from consumer.config.secrets import kafka_options, secret
from tests.consumer.configs import CONTRACT, GOOD, SIMULATED_OMS, error_text, shop, written


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERFLOW_WEB__PORT", "9001")
    monkeypatch.setenv("ORDERFLOW_SHOPS__ALPHA__EFFECTS", "on")
    settings = load(written(tmp_path, GOOD + "[web]\nport = 9000\nhost = '0.0.0.0'\n"))
    assert settings.web.port == 9001
    assert settings.web.host == "0.0.0.0"
    assert settings.shops["alpha"].effects == "on"
    assert settings.shops["alpha"].shop_id == 2104


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD))
    assert settings.log.kind == "embedded"
    assert settings.web.port == 9464
    assert settings.topics.snapshots == "mirakl.order-snapshots"
    alpha = settings.shops["alpha"]
    assert alpha.effects is None
    assert alpha.acceptance == "all"
    assert alpha.poll_interval_seconds == 60
    assert alpha.endpoint == "https://alpha.mirakl.net"


def test_a_simulator_may_be_at_another_host(tmp_path: Path) -> None:
    text = shop(hostname="", base_url='"http://simulators:8080"', poll_interval_seconds="0.1") + SIMULATED_OMS
    assert load(written(tmp_path, text)).shops["alpha"].endpoint == "http://simulators:8080"


def test_a_base_url_at_loopback_may_be_polled_often(tmp_path: Path) -> None:
    text = shop(hostname="", base_url='"http://127.0.0.1:8080/"', poll_interval_seconds="0.1")
    alpha = load(written(tmp_path, text)).shops["alpha"]
    assert alpha.endpoint == "http://127.0.0.1:8080"
    assert alpha.poll_interval_seconds == 0.1


def test_two_shops_of_one_company_need_prefixes(tmp_path: Path) -> None:
    alpha = GOOD + 'external_ref_prefix = "A-"\n'
    beta = GOOD.replace("alpha", "beta") + 'external_ref_prefix = "B-"\n'
    assert sorted(load(written(tmp_path, alpha + beta)).shops) == ["alpha", "beta"]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = shop(acceptance='"known-skus"', known_skus_file='"skus"', api_key_file='"/run/secrets/a"')
    settings = load(written(tmp_path, text))
    alpha = settings.shops["alpha"]
    assert settings.store.url == f"sqlite:///{tmp_path}/orderflow.db"
    assert alpha.api_key_file == Path("/run/secrets/a")
    assert alpha.oms.api_key_file == tmp_path / "o.key"
    assert alpha.oms.callback_secret_file is None
    assert alpha.known_skus_file == tmp_path / "skus"
    assert alpha.unknown_skus == "hold"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/orderflow.db", "sqlite:///:memory:"])
def test_an_absolute_or_memory_store_keeps_its_url(tmp_path: Path, url: str) -> None:
    assert load(written(tmp_path, GOOD + f'[store]\nurl = "{url}"\n')).store.url == url


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00"])
def test_an_instant_without_a_zone_is_utc(tmp_path: Path, text: str) -> None:
    settings = load(written(tmp_path, shop(not_before=text)))
    assert settings.shops["alpha"].not_before == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_example_loads_once_its_secrets_exist(tmp_path: Path) -> None:
    settings = load(written(tmp_path, example()))
    alpha = settings.shops["alpha"]
    assert alpha.effects is None, "a new shop starts with effects off, until `shops resume`"
    files = (alpha.api_key_file, alpha.oms.api_key_file, alpha.oms.callback_secret_file)
    (tmp_path / "secrets").mkdir()
    for path in files:
        assert path is not None
        path.write_text("key\n", encoding="utf-8")
        assert secret("key", path)() == "key"


def test_the_file_of_the_contract_loads(tmp_path: Path) -> None:
    settings = load(written(tmp_path, CONTRACT))
    assert settings.kafka.bootstrap_servers == ["127.0.0.1:9092"]


def test_every_key_of_the_example_is_a_setting() -> None:
    named = {line.lstrip("# ").split(" = ")[0] for line in example().splitlines() if " = " in line}
    schema = str(Settings.model_json_schema())
    assert [key for key in sorted(named) if repr(key) not in schema] == []


def test_each_kafka_setting_says_which_clients_take_it() -> None:
    for name, field in KafkaTable.model_fields.items():
        assert len([one for one in field.metadata if isinstance(one, KafkaOption)]) == 1, name


def test_kafka_settings_go_to_the_clients_that_take_them(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    (tmp_path / "key.password").write_text("word\n")
    text = '[kafka]\ncompression_type = "lz4"\nssl_cafile = "ca.pem"\nssl_password_file = "key.password"\n'
    settings = load(written(tmp_path, GOOD + text))
    assert settings.kafka.options(KafkaOption.OF_CONSUMERS) == {
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 3_000,
    }
    assert settings.kafka.options(KafkaOption.OF_PRODUCERS) == {
        "compression_type": "lz4",
        "max_request_size": 1_048_576,
    }
    assert kafka_options(settings)() == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "client_id": "orderflow",
        "security_protocol": "PLAINTEXT",
        "ssl_cafile": str(tmp_path / "ca.pem"),
        "ssl_check_hostname": True,
        "ssl_password": "word",
    }


def test_a_certificate_file_that_is_missing_names_key_and_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD + '[kafka]\nssl_cafile = "ca.pem"\n'))
    with pytest.raises(ConfigError, match=r"kafka\.ssl_cafile: there is no file .*/ca\.pem"):
        kafka_options(settings)


def test_what_a_shop_decides_reaches_its_policy_and_its_payloads(tmp_path: Path) -> None:
    settings = load(written(tmp_path, GOOD))
    assert config.policies(settings)["alpha"].centres == {"", "DEFAULT"}
    assert config.order_rules(settings.shops["alpha"]) == OrderRules(99999)
    shop = 'fulfilment_centres = ["PORTO"]\n[shops.alpha.oms]\n'
    oms = """
external_ref_prefix = "PT-"
required_order_fields = ["gift"]
required_line_fields = ["text"]
shipping_methods = { STD = "Courier" }
countries = { "France (métropolitaine)" = "FR" }
custom_fields = { text = "Engraving" }
pickup_point_fields = ["relay"]
pickup_point_as_company = true
"""
    settings = load(written(tmp_path, GOOD.replace("[shops.alpha.oms]\n", shop) + oms))
    assert config.policies(settings)["alpha"].centres == {"", "PORTO"}
    assert config.order_rules(settings.shops["alpha"]) == OrderRules(
        company_ref_id=99999,
        external_ref_prefix="PT-",
        shipping_methods={"STD": "Courier"},
        countries={"France (métropolitaine)": "FR"},
        custom_fields={"text": "Engraving"},
        required_order_fields=frozenset({"gift"}),
        required_line_fields=frozenset({"text"}),
        pickup_point_fields=("relay",),
        pickup_point_as_company=True,
    )


def test_known_skus_are_one_a_line(tmp_path: Path) -> None:
    text = shop(acceptance='"known-skus"', known_skus_file='"skus"')
    alpha = load(written(tmp_path, text)).shops["alpha"]
    with pytest.raises(ConfigError, match=r"shops\.alpha\.known_skus_file: "):
        config.known_skus("alpha", alpha)
    (tmp_path / "skus").write_text("MUG\n\n TEE \n", encoding="utf-8")
    assert config.known_skus("alpha", alpha) == {"MUG", "TEE"}


def test_unknown_skus_are_refused_where_the_shop_says_so(tmp_path: Path) -> None:
    (tmp_path / "skus").write_text("MUG\n", encoding="utf-8")
    text = shop(acceptance='"known-skus"', known_skus_file='"skus"', unknown_skus='"refuse"')
    assert config.policies(load(written(tmp_path, text)))["alpha"].unknown_skus == "refuse"


def test_deadlines_of_a_shop_become_its_policy_and_impossible_ones_are_refused(tmp_path: Path) -> None:
    table = "[shops.alpha.deadlines]\naccept_within_hours = 24\naccept_margin_hours = 0\nshipping_margin_hours = 1.5\n"
    policy = config.policies(load(written(tmp_path, shop() + table)))["alpha"]
    assert (policy.accept_within, policy.accept_margin) == (timedelta(hours=24), timedelta(0))
    assert (policy.payment_within, policy.shipping_margin) == (timedelta(hours=48), timedelta(minutes=90))
    for wrong in ("accept_within_hours = 0", "shipping_margin_hours = -1", "payment_within_hours = inf"):
        key = wrong.partition(" ")[0]
        assert f"FILE: shops.alpha.deadlines.{key}: " in error_text(
            tmp_path, shop() + f"[shops.alpha.deadlines]\n{wrong}\n"
        )
