"""A throw-away Ceph RGW: a real S3 server in one folder, on loopback only."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.ports import free_port, wait_for_http

ACCESS_KEY = "holdfast-test"
SECRET_KEY = "holdfast-test-secret"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool")


class Cluster:
    """A monitor, one OSD and a gateway.

    Args:
        folder: where everything lies, configuration and data.
        objectstore: "memstore", fast and gone with its process, or "bluestore", which outlives it.

    """

    def __init__(self, folder: Path, objectstore: str) -> None:
        self._folder = folder
        self._conf = folder / "ceph.conf"
        self._objectstore = objectstore
        self._mon_port, self._rgw_port = free_port(), free_port()
        self.endpoint_url = f"http://127.0.0.1:{self._rgw_port}"

    def create(self) -> None:
        """Create the cluster and start it."""
        for name in ("mon", "osd", "run", "log", "rgw"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "keyring").touch()
        fsid, monmap = str(uuid.uuid4()), str(self._folder / "monmap")
        self._conf.write_text(_configuration(self._folder, fsid, self._mon_port, self._rgw_port, self._objectstore))
        address = f"[v2:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
        self._run("ceph-mon", "--id", "a", "--mkfs", "--monmap", monmap)
        self._start_mon()
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osd)
        self._start_osd()
        keys = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self._run("radosgw-admin", "--name", "client.rgw", "user", "create", "--uid=test", "--display-name=test", *keys)
        self._start_gateway()

    def restart(self) -> None:
        """Start the processes again after `kill`. On memstore nothing would be left."""
        self._start_mon()
        self._start_osd()
        self._start_gateway()

    def kill(self) -> None:
        """Kill every process at once, as a power cut would, and wait for their end."""
        pids = []
        for pid_file in (self._folder / "run").glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                pids.append(int(pid_file.read_text()))
                os.kill(pids[-1], signal.SIGKILL)
            pid_file.unlink()
        for pid in pids:
            _wait_for_end(pid)

    def _start_mon(self) -> None:
        self._run("ceph-mon", "--id", "a")
        self._wait_for("quorum", "ceph", "--connect-timeout", "20", "mon", "stat")

    def _start_osd(self) -> None:
        booted = self._boots()
        self._run("ceph-osd", "--id", "0")
        deadline = time.monotonic() + 60
        # The map may report a killed OSD as up for a while; one that has booted has a new epoch in it.
        while self._boots() == booted or "1 up" not in self._run("ceph", "osd", "stat"):
            _pause(deadline, "ceph-osd")

    def _boots(self) -> str:
        return self._run("ceph", "osd", "dump", "--format", "json").partition('"up_from":')[2].partition(",")[0]

    def _start_gateway(self) -> None:
        self._run("radosgw", "--name", "client.rgw")
        wait_for_http(self.endpoint_url)

    def _run(self, *command: str) -> str:
        command = (*command, "-c", str(self._conf))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
        return done.stdout + done.stderr

    def _wait_for(self, words: str, *command: str) -> None:
        deadline = time.monotonic() + 60
        while words not in self._run(*command):
            _pause(deadline, command[0])


def missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def running(folder: Path, objectstore: str = "memstore") -> Iterator[Cluster]:
    cluster = Cluster(folder, objectstore)
    try:
        cluster.create()
        yield cluster
    finally:
        cluster.kill()


def _pause(deadline: float, program: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(f"{program} is not ready")
    time.sleep(0.05)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        _pause(deadline, f"the end of process {pid}")


def _configuration(folder: Path, fsid: str, mon: int, rgw: int, objectstore: str) -> str:
    return f"""
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v2:127.0.0.1:{mon}/0
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = {folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
run_dir = {folder}/run
pid_file = {folder}/run/$name.pid
admin_socket = {folder}/run/$name.asok
log_file = {folder}/log/$name.log
[mon]
mon_data = {folder}/mon
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[osd]
osd_data = {folder}/osd
osd_objectstore = {objectstore}
memstore_device_bytes = 8589934592
bluestore_block_size = 17179869184
bluestore_fsck_on_mount = false
osd_memory_target = 1073741824
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
rgw_data = {folder}/rgw
ms_mon_client_mode = crc
rgw_frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:{rgw}
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 10
rgw_gc_processor_max_time = 10
rgw_dynamic_resharding = false
rgw_run_sync_thread = false
rgw_enable_ops_log = false
rgw_relaxed_region_enforcement = true
"""
