"""A throw-away Ceph RGW: a real S3 server below one folder, on loopback only."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port, wait_for_http

ACCESS_KEY = "holdfast-test"
SECRET_KEY = "holdfast-test-secret"
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool")


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str


def missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    mon, rgw = free_port(), free_port()
    for name in ("mon", "osd", "run", "log", "rgw"):
        (folder / name).mkdir(parents=True)
    (folder / "keyring").touch()
    fsid = str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_configuration(folder, fsid, mon, rgw))

    def run(*command: str) -> str:
        done = subprocess.run([*command, "-c", str(conf)], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
        return done.stdout + done.stderr

    def wait_for(words: str, *command: str) -> None:
        deadline = time.monotonic() + 60
        while words not in run(*command):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} is not ready")
            time.sleep(0.05)

    try:
        address = f"[v2:127.0.0.1:{mon}]"
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
        run("ceph-mon", "--id", "a", "--mkfs", "--monmap", str(folder / "monmap"))
        run("ceph-mon", "--id", "a")
        wait_for("quorum", "ceph", "--connect-timeout", "20", "mon", "stat")
        osd = str(uuid.uuid4())
        run("ceph", "osd", "new", osd)
        run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osd)
        run("ceph-osd", "--id", "0")
        wait_for("1 up", "ceph", "osd", "stat")
        keys = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        run("radosgw-admin", "--name", "client.rgw", "user", "create", "--uid=test", "--display-name=test", *keys)
        run("radosgw", "--name", "client.rgw")
        endpoint = f"http://127.0.0.1:{rgw}"
        wait_for_http(endpoint)
        yield S3Server(endpoint)
    finally:
        for pid_file in (folder / "run").glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def _configuration(folder: Path, fsid: str, mon: int, rgw: int) -> str:
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
osd_objectstore = memstore
memstore_device_bytes = 8589934592
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
