"""The example for Alertmanager: amtool takes it, and each alert goes where its severity says."""

import os
import shutil
import subprocess
from typing import Any, Final

import pytest
import yaml

from tests.k8s.test_alerts import MONITORING, RULES

FILE: Final = MONITORING / "alertmanager.yaml"
EXAMPLE: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
RECEIVERS: Final = {"critical": "pager", "warning": "ticket", "info": "nowhere"}


def amtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    if shutil.which("amtool") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have amtool, of Debian's package prometheus-alertmanager")
        pytest.skip("needs amtool, of Debian's package prometheus-alertmanager")
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_amtool_takes_the_example() -> None:
    done = amtool("check-config", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("severity", sorted({rule["labels"]["severity"] for rule in RULES.values()}))
def test_an_alert_goes_where_its_severity_says(severity: str) -> None:
    labels = (f"severity={severity}", "shop=alpha", "namespace=orderflow", "alertname=OrdersPollStale")
    arguments = ("config", "routes", "test", f"--config.file={FILE}")
    done = amtool(*arguments, f"--verify.receivers={RECEIVERS[severity]}", *labels)
    assert done.returncode == 0, done.stdout + done.stderr
    (other, *_) = [name for name in RECEIVERS.values() if name != RECEIVERS[severity]]
    assert amtool(*arguments, f"--verify.receivers={other}", *labels).returncode != 0, "amtool notices a wrong receiver"


def test_every_receiver_exists_and_alerts_of_one_shop_come_together() -> None:
    assert {one["name"] for one in EXAMPLE["receivers"]} == set(RECEIVERS.values())
    assert EXAMPLE["route"]["group_by"] == ["namespace", "shop", "alertname"]


#: It has no shop, and hushes alerts of every shop.
OF_EVERY_SHOP: Final = 'alertname="OrdersRoleMissing"'


def test_an_alert_that_hushes_another_exists_and_is_of_the_same_shop() -> None:
    for rule in EXAMPLE["inhibit_rules"]:
        assert rule["equal"] == (["namespace"] if OF_EVERY_SHOP in rule["source_matchers"] else ["namespace", "shop"])
        named = [one for one in rule["source_matchers"] + rule["target_matchers"] if one.startswith("alertname=")]
        assert {alert for one in named for alert in one.split('"')[1].split("|")} - set(RULES) == set()
        by_severity = 'severity="critical"' in rule["source_matchers"]
        assert not by_severity or 'shop=~".+"' in rule["source_matchers"], "an alert without a shop hushes no ticket"


def test_a_key_that_the_oms_refuses_hushes_no_stale_poll() -> None:
    """Only Mirakl's refusal stops the polls. A poll that is stale for another reason is a page of its own."""
    of_polls = [one for one in EXAMPLE["inhibit_rules"] if 'alertname="OrdersPollStale"' in one["target_matchers"]]
    assert [sorted(one["source_matchers"]) for one in of_polls] == [
        ['alertname="OrdersApiAuthFailing"', 'system="mirakl"']
    ]


def test_if_no_poller_runs_the_shops_have_no_page_each() -> None:
    """A missing worker hushes nothing of a shop: its polls go on, and may be stale for another reason."""
    (rule,) = [one for one in EXAMPLE["inhibit_rules"] if OF_EVERY_SHOP in one["source_matchers"]]
    assert 'role="poller"' in rule["source_matchers"]
    assert rule["target_matchers"] == ['alertname=~"OrdersNoLeader|OrdersPollStale"']
    assert RULES["OrdersRoleMissing"]["for"] == RULES["OrdersNoLeader"]["for"], "else their pages have gone out by then"
