"""The processes of the full demo and of the benchmark end with the process that started them."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from consumer.demo.fleet import STOP_SECONDS
from tests.consumer.configs import written
from tests.support import wait
from tests.system.running import status

#: Starts one process with everything in it, and says which, and at which port.
_STARTS = """
import sys
from pathlib import Path
from consumer.demo.fleet import Fleet
fleet = Fleet(Path(sys.argv[1]), Path(sys.argv[1]).parent)
fleet.start({"all": 1})
(one,) = fleet.members.values()
print(one.process.pid, one.port)
sys.stdout.flush()
sys.stdin.read()
"""
#: A shop whose remotes refuse every connection. A name of another host would be looked up, and a look-up that gets no
#: answer may keep the process for all the time that a stop may take.
_NO_REMOTE = """
[http]
simulated = true
[oms]
base_url = "http://127.0.0.1:9"
[shops.alpha]
base_url = "http://127.0.0.1:9"
shop_id = 2104
api_key_file = "a.key"
[shops.alpha.oms]
company_ref_id = 1
api_key_file = "o.key"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process that its parent ended")
@pytest.mark.parametrize("is_up", [True, False], ids=["after its start", "while it starts"])
def test_a_process_stops_when_its_parent_is_killed(tmp_path: Path, is_up: bool) -> None:
    for name in ("a.key", "o.key"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text("key")
    path = written(tmp_path, f'[store]\nurl = "sqlite:///{tmp_path}/orderflow.db"\n{_NO_REMOTE}')
    command = [sys.executable, "-c", _STARTS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        if is_up:
            wait(lambda: status(port, "/live") == 200, "the process is up")
        parent.kill()
    wait(lambda: not runs(pid), "the process has ended", STOP_SECONDS)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
