"""The demo in one process: it passes, and it fails if only the books show that something is wrong."""

import io
import tempfile
import threading
from pathlib import Path

import httpx
import pytest
import structlog
from prometheus_client.exposition import generate_latest
from rich.console import Console

from adapters.errors import ConfigError
from adapters.simulators.orders import COMPANIES, MARKETPLACES
from adapters.simulators.serve import SimulatedWorld
from adapters.store.engine import hold_alone
from consumer import config
from consumer.demo.embedded import demo
from consumer.demo.report import STALLED_SECONDS, Outcome
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY, write_settings
from consumer.service import Service


class Run:
    """One demo, and what it printed, logged and counted."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.out = io.StringIO()
        self.services: list[Service] = []
        on_started = options.pop("on_started", lambda _world: None)

        def started(world: SimulatedWorld, service: Service) -> None:
            self.services.append(service)
            on_started(world)  # type: ignore[operator]

        console = Console(file=self.out, width=120)
        self.outcome: Outcome = demo(folder=folder, console=console, on_started=started, **options)  # type: ignore[arg-type]
        self.log = (folder / "orderflow.log").read_text()
        self.metrics = generate_latest(self.services[0].parts.recorder.registry).decode()


@pytest.mark.minutes
def test_every_story_ends_well_and_no_personal_data_or_secret_is_shown(tmp_path: Path) -> None:
    """From 150 orders on every story occurs. All personal data of the simulators contain the word Canary."""
    run = Run(tmp_path, orders=150, speed=3.0)
    assert run.outcome.findings == ()
    assert run.outcome.settled
    assert "Audit passed" in run.out.getvalue()
    assert run.log.count('"event": "transition"') > 400
    for text in (run.log, run.metrics, run.out.getvalue()):
        assert "canary" not in text.lower()
        for secret in (OMS_KEY, CALLBACK_SECRET, *(one.api_key for one in MARKETPLACES.values())):
            assert secret not in text
    assert 'orderflow_transitions_total{from_state="dispatched",shop="alpha",to_state="shipped"' in run.metrics


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_ctrl_c_or_an_error_leaves_nothing_of_a_demo_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The folder stayed, with its keys and the personal data of its orders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders: list[list[Path]] = []

    def interrupt(_world: SimulatedWorld, _service: Service) -> None:
        folders.append(list(tmp_path.iterdir()))
        raise error

    with pytest.raises(error):
        demo(orders=1, console=Console(file=io.StringIO()), on_started=interrupt)
    assert [one.name.startswith("orderflow-demo-") for one in folders[0]] == [True]
    assert list(tmp_path.iterdir()) == []
    left = [one.name for one in threading.enumerate() if one.name.startswith(("poller", "worker", "consumer"))]
    assert left == []


def test_simulate_replaces_its_own_configuration_and_no_other(tmp_path: Path) -> None:
    def write(folder: Path, port: int, *, again: bool) -> Path:
        return write_settings(folder, {"alpha": "http://127.0.0.1:1"}, "http://127.0.0.1:1", port, again=again)

    file = write(tmp_path / "simulated", 9464, again=True)
    (tmp_path / "simulated/orderflow.db").write_text("the orders of the simulators of then")
    assert write(tmp_path / "simulated", 9465, again=True) == file
    assert config.load(file).web.port == 9465
    assert not (tmp_path / "simulated/orderflow.db").exists()
    lock = hold_alone(f"sqlite:///{tmp_path}/simulated/orderflow.db")
    with pytest.raises(ConfigError, match=r"simulate: another orderflow runs on"):
        write(tmp_path / "simulated", 9466, again=True)
    assert lock is not None
    lock.close()
    write(tmp_path / "real", 9464, again=False)
    with pytest.raises(ConfigError, match=r"exists already; name another folder"):
        write(tmp_path / "real", 9464, again=True)


def test_a_demo_that_waits_for_one_order_is_not_taken_for_one_that_stalled(tmp_path: Path) -> None:
    """With few orders the last one may wait for its messages, while nothing else changes."""
    file = write_settings(tmp_path, {"alpha": "http://127.0.0.1:1"}, "http://127.0.0.1:1", 9464)
    shop = config.load(file).shops["alpha"]
    waits = (shop.messages_wait_seconds, shop.tracking_holds_for_seconds, shop.retrying_after_seconds)
    assert max(waits) + 10 <= STALLED_SECONDS


def test_after_a_demo_its_caller_can_log_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo logs into a file of its own, which it closes at its end."""
    Run(tmp_path, orders=1, speed=10.0)
    structlog.get_logger("caller").error("still_logged")
    assert "still_logged" in capsys.readouterr().out


def test_an_order_that_somebody_else_posts_to_the_oms_fails_the_audit(tmp_path: Path) -> None:
    def post(world: SimulatedWorld) -> None:
        items = [{"external_ref": "1", "sku": "MUG", "description": "Mug", "quantity": 1, "type": 5}]
        address = {"shipping_address_1": "1 Row", "shipping_address_4": "Leeds", "shipping_postcode": "LS1"}
        order = {
            "external_ref": "BEHIND-1",
            "company_ref_id": COMPANIES["alpha"],
            "sale_datetime": "2026-03-01 10:00:00",
        }
        order |= {"customer_name": "Ann", **address, "shipping_country_code": "GB", "items": items}
        auth = httpx.BasicAuth(str(COMPANIES["alpha"]), OMS_KEY)
        httpx.post(f"{world.oms_url}/order", json=order, auth=auth, trust_env=False).raise_for_status()

    run = Run(tmp_path, orders=6, speed=5.0, on_started=post)
    assert not run.outcome.passed
    assert "BEHIND-1" in " ".join(run.outcome.findings)
    assert "Audit failed" in run.out.getvalue()


@pytest.mark.minutes
def test_a_wrong_callback_secret_stalls_the_demo(tmp_path: Path) -> None:
    run = Run(tmp_path, orders=6, speed=5.0, callback_secret="wrong", stalled_seconds=6)
    assert not run.outcome.settled
    assert not run.outcome.passed
    out = run.out.getvalue()
    assert "Stalled: nothing changed any more. Orders not at the end of their story: " in out
    assert "Demo failed: it stalled" in out
    assert "0 findings" not in out
    assert f"orderflow orders explain {run.outcome.stalled[0].order_id} --shop " in out
    assert "not_authentic" in run.log
