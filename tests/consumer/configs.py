"""Texts of configuration files, for tests."""

from pathlib import Path

import pytest

from adapters.errors import ConfigError
from consumer.config import load

GOOD = """\
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "secrets/alpha.key"
[shops.alpha.oms]
company_ref_id = 99999
api_key_file = "secrets/alpha-oms.key"
"""
#: The tables of a demo whose remotes are simulators at another host.
SIMULATED_OMS = """\
[http]
simulated = true
[oms]
base_url = "http://simulators:8081"
"""
#: A configuration file with the names that other people use (docs/rules.md 34), and the tables of kind = "kafka".
CONTRACT = """\
[store]
url = "sqlite:///orderflow.db"
[log]
kind = "embedded"
[kafka]
bootstrap_servers = ["127.0.0.1:9092"]
group_id = "orderflow"
sasl_plain_password_file = "secrets/kafka"
[topics]
snapshots = "mirakl.order-snapshots"
oms_events = "oms.order-events"
transitions = "orderflow.transitions"
dead_letters = "orderflow.dead-letters"
[web]
host = "127.0.0.1"
port = 9464
[oms]
base_url = "https://api-sl-2-2.kornitx.net"
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "secrets/alpha.key"
effects = "on"
poll_interval_seconds = 60
[shops.alpha.oms]
company_ref_id = 99999
api_key_file = "secrets/alpha-oms.key"
callback_secret_file = "secrets/alpha-callback.key"
external_ref_prefix = ""
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "orderflow.toml"
    path.write_text(text, encoding="utf-8")
    return path


def shop(**lines: str) -> str:
    """The good file with these keys of [shops.alpha] changed. A key with an empty value is left out."""
    table = {"hostname": '"alpha.mirakl.net"', "shop_id": "2104", "api_key_file": '"a.key"'} | lines
    body = "".join(f"{key} = {value}\n" for key, value in table.items() if value)
    return f'[shops.alpha]\n{body}[shops.alpha.oms]\ncompany_ref_id = 1\napi_key_file = "o.key"\n'


def error_text(folder: Path, text: str) -> str:
    """Return the text of the ConfigError that this file causes, with FILE instead of its path."""
    path = written(folder, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    return str(error.value).replace(str(path), "FILE")
