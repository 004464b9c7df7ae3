"""A drill: export a store that is used, lose it, import the archive into another kind of store, and resume."""

import array
import fcntl
import json
import os
import signal
import subprocess
import termios
import threading
import time
from contextlib import closing

import holdfast
import pytest

from tests.support import servers
from tests.support.folder_objects import keys as keys_in
from tests.support.servers import EXECUTABLE, server

FORMAT = holdfast.Format("test", 1)


def run(*arguments, expect=0, **options):
    done = servers.run(*arguments, **options)
    assert done.returncode == expect, done.stderr
    return done


def summary(done):
    return json.loads(done.stdout.splitlines()[-1])


def fill(client, saves=30):
    """Save small and large checkpoints, records, and a deletion."""
    for number in range(saves):
        data = {"state": b"step %d " % number * 3000, "blob": os.urandom(400_000 if number % 10 == 0 else 50_000)}
        client.save("team", f"run-{number % 3}", data, format=FORMAT, checkpoint_id=f"c{number}")
    client.attach("team", "run-0", "c3", [holdfast.Record("note", b"text")])
    client.delete("team", "run-1", "c4")


def state_of(client):
    """Return all that clients see of a namespace."""
    return {
        (name, loaded.checkpoint_id): (loaded.revision, dict(loaded.parts), loaded.info.labels)
        for name in ("run-0", "run-1", "run-2")
        for loaded in client.history("team", name)
    }


@pytest.fixture(params=["file", "s3"])
def other_store(request, tmp_path, monkeypatch):
    """The URL of a store that does not exist yet."""
    if request.param == "file":
        return (tmp_path / "other").as_uri()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("s3_endpoint"))
    return f"s3://{request.getfixturevalue('s3_bucket')}/restored"


def test_the_drill_export_lose_import_resume(tmp_path, other_store):
    url, archive = (tmp_path / "store").as_uri(), str(tmp_path / "backup.tar")
    with server(url) as target, holdfast.Client(target) as client:
        fill(client)
        begins, ends = threading.Event(), threading.Event()
        with closing(holdfast.Client(target)) as other:
            saver = threading.Thread(target=save_until, args=(other, begins, ends))
            saver.start()
            try:
                assert begins.wait(60)
                exported = summary(run("export", "--store", url, archive))
            finally:
                ends.set()
                saver.join()
        before = state_of(client)
    assert exported["workflows"] == 4
    assert exported["findings"] == 0
    assert os.stat(archive).st_mode & 0o77 == 0
    done = summary(run("import", "--store", other_store, archive))
    assert done["objects"] == exported["objects"]
    assert summary(run("import", "--store", other_store, archive))["unchanged"] == 4
    assert summary(run("fsck", "--store", other_store))["findings"] == 0
    with server(other_store) as target, holdfast.Client(target) as client:
        assert state_of(client) == before
        assert [each.key for each in client.records("team", "run-0", "c3")] == ["note"]
        resumed = client.resume("team", "run-2", format=FORMAT)
        assert resumed.checkpoint_id == "c29"
        assert client.save("team", "run-2", b"next", format=FORMAT).revision > resumed.revision


def save_until(client, begins, ends):
    number = 0
    while not ends.is_set():
        client.save("team", "busy", b"%d" % number * 1000, format=FORMAT)
        begins.set()
        number += 1


def test_an_archive_goes_through_a_pipe(tmp_path):
    url, other = (tmp_path / "store").as_uri(), (tmp_path / "other").as_uri()
    with holdfast.Client(url) as client:
        fill(client, 6)
    with subprocess.Popen([*EXECUTABLE, "export", "--store", url, "-"], stdout=subprocess.PIPE) as exporting:
        done = subprocess.run(
            [*EXECUTABLE, "import", "--store", other, "-"], stdin=exporting.stdout, capture_output=True, check=True
        )
    assert exporting.returncode == 0
    assert json.loads(done.stdout)["workflows"] == 3
    assert keys_in(tmp_path / "other", "ns/*") == keys_in(tmp_path / "store", "ns/*")


def test_an_export_that_was_killed_is_continued(tmp_path):
    url, archive = (tmp_path / "store").as_uri(), tmp_path / "backup.tar"
    with holdfast.Client(url) as client:
        fill(client, 60)
    with subprocess.Popen([*EXECUTABLE, "export", "--store", url, archive]) as exporting:
        while not archive.exists() or archive.stat().st_size < 1 << 20:
            assert exporting.poll() is None or archive.stat().st_size > 1 << 20
            time.sleep(0.002)
        exporting.send_signal(signal.SIGKILL)
    # A kill may come too late, or the last member be whole: take more away.
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size - 3000)
    run("import", "--store", (tmp_path / "none").as_uri(), str(archive), expect=1)
    assert not (tmp_path / "none").exists()
    refused = run("export", "--store", url, str(archive), expect=2)
    assert "--resume" in refused.stderr
    exported = summary(run("export", "--store", url, "--resume", str(archive)))
    assert summary(run("export", "--store", url, "--resume", str(archive))) == exported
    run("import", "--store", (tmp_path / "other").as_uri(), str(archive))
    assert keys_in(tmp_path / "other", "ns/*") == keys_in(tmp_path / "store", "ns/*")


def test_an_import_that_was_killed_is_run_again(tmp_path):
    url, other, archive = (tmp_path / "store").as_uri(), tmp_path / "other", str(tmp_path / "backup.tar")
    with holdfast.Client(url) as client:
        fill(client, 60)
    run("export", "--store", url, archive)
    with subprocess.Popen([*EXECUTABLE, "import", "--store", other.as_uri(), archive]) as importing:
        while not (other / "holdfast.db").exists() or not keys_in(other, "ns/*/wf/*/log/*"):
            assert importing.poll() is None
            time.sleep(0.01)
        importing.send_signal(signal.SIGKILL)
    run("import", "--store", other.as_uri(), archive)
    assert keys_in(other, "ns/*") == keys_in(tmp_path / "store", "ns/*")
    assert summary(run("fsck", "--store", other.as_uri()))["findings"] == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["export", "--namespace", "", "FILE"], "namespace: must not be empty, got ''"),
        (["export", "--namespace", "a/b", "FILE"], "namespace: must not contain a slash"),
        (["export", "--namespace", "n" * 129, "FILE"], "namespace: expected at most 128 bytes"),
        (["export", "--workflow", "w", "FILE"], "workflow: expected the namespace as well"),
        (["export", "--namespace", "team", "--workflow", "none", "FILE"], "'none' is not in namespace 'team'"),
        (["export", "--namespace", "none", "FILE"], "'none' has no workflows in the store"),
        (["export", "--resume", "FILE"], "No such file"),
        (["export", "--resume", "-"], "resume: expected a file"),
        (["import", "FILE"], "No such file"),
        (["backup", "STORE"], "expected an empty folder"),
    ],
)
def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path, arguments, why):
    url = (tmp_path / "store").as_uri()
    with holdfast.Client(url) as client:
        client.save("team", "w", b"x", format=FORMAT)
    places = {"FILE": str(tmp_path / "file"), "STORE": str(tmp_path / "store")}
    command, *rest = [places.get(each, each) for each in arguments]
    refused = run(command, "--store", url, *rest, expect=2)
    assert why in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "file").exists()


def test_an_interrupt_ends_an_import_that_waits_for_its_pipe_without_a_stack(tmp_path):
    url, archive = (tmp_path / "store").as_uri(), tmp_path / "backup.tar"
    with holdfast.Client(url) as client:
        fill(client, 6)
    run("export", "--store", url, str(archive))
    reads, writes = os.pipe()
    with open(reads, "rb") as source, open(writes, "wb", buffering=0) as pipe:
        command = [*EXECUTABLE, "import", "--store", (tmp_path / "other").as_uri(), "-"]
        with subprocess.Popen(command, stdin=source, stderr=subprocess.PIPE) as importing:
            pipe.write(archive.read_bytes()[:3000])
            waiting, deadline = array.array("i", [1]), time.monotonic() + 60
            while waiting[0]:
                assert time.monotonic() < deadline
                fcntl.ioctl(source, termios.FIONREAD, waiting)
                time.sleep(0.01)
            importing.send_signal(signal.SIGINT)
            assert importing.wait(60) == -signal.SIGINT
            assert importing.stderr.read() == b""


def test_an_archive_is_not_continued_with_another_store_or_by_two_at_once(tmp_path):
    urls = [(tmp_path / name).as_uri() for name in ("store", "other")]
    for url in urls:
        with holdfast.Client(url) as client:
            fill(client, 6)
    archive = tmp_path / "backup.tar"
    run("export", "--store", urls[0], str(archive))
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size - 3000)
        before = archive.read_bytes()
        refused = run("export", "--store", urls[1], "--resume", str(archive), expect=2)
        assert "it is an archive of another store" in refused.stderr
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = run("export", "--store", urls[0], "--resume", str(archive), expect=2)
        assert "another export is writing it" in refused.stderr
    assert archive.read_bytes() == before
    run("export", "--store", urls[0], "--resume", str(archive))


@pytest.mark.parametrize(("direction", "descriptor"), [("export", 1), ("import", 0)])
def test_a_standard_stream_that_is_closed_takes_no_archive(tmp_path, direction, descriptor):
    url = (tmp_path / "store").as_uri()
    with holdfast.Client(url) as client:
        client.save("team", "w", b"x", format=FORMAT)
    command = ["sh", "-c", f'exec "$@" {descriptor}>&-', "sh", *EXECUTABLE, direction, "--store", url, "-"]
    refused = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == (
        "holdfast-server: -: expected a file, a pipe or a terminal, got a standard stream that is closed\n"
    )


@pytest.mark.parametrize("name", ["/dev/full", "FILE"])
def test_an_export_that_finds_no_space_names_the_file(tmp_path, name):
    url = (tmp_path / "store").as_uri()
    with holdfast.Client(url) as client:
        fill(client, 6)
    command = ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", *EXECUTABLE, "export", "--store", url]
    path = tmp_path / "file"
    if name == "FILE":
        refused = subprocess.run([*command, path], stderr=subprocess.PIPE, text=True, check=False)
        assert f"File too large: '{path}'" in refused.stderr
        run("export", "--store", url, "--resume", str(path))
        run("import", "--store", (tmp_path / "other").as_uri(), str(path))
    else:
        with open(name, "wb") as full:
            refused = subprocess.run([*command, "-"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert "No space left on device: 'stdout'" in refused.stderr
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


def test_a_backup_of_a_folder_that_is_used_is_a_whole_store(tmp_path):
    url = (tmp_path / "store").as_uri()
    with server(url, "--gc-interval-seconds", "1") as target, holdfast.Client(target) as client:
        fill(client)
        ends = threading.Event()
        saver = threading.Thread(target=save_and_purge_until, args=(client, ends))
        saver.start()
        try:
            for number in range(3):
                run("backup", "--store", url, str(tmp_path / f"backup-{number}"))
        finally:
            ends.set()
            saver.join()
    for number in range(3):
        folder = tmp_path / f"backup-{number}"
        assert summary(run("fsck", "--store", str(folder)))["findings"] == 0
        with holdfast.Client(folder.as_uri()) as client:
            assert client.load("team", "run-2").checkpoint_id == "c29"


def test_a_backup_that_failed_or_was_killed_is_begun_again(tmp_path):
    url, target = (tmp_path / "store").as_uri(), tmp_path / "backup"
    with holdfast.Client(url) as client:
        fill(client, 6)
    command = ["sh", "-c", 'ulimit -f 300; exec "$@"', "sh", *EXECUTABLE, "backup", "--store", url, target]
    failed = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert failed.returncode == 2
    assert str(target) in failed.stderr
    assert list(target.iterdir()) == []
    # As a kill leaves it.
    run("backup", "--store", url, str(target))
    (target / "holdfast.db").rename(target / "holdfast.db.unfinished")
    (target / "holdfast.db.unfinished-journal").touch()
    run("backup", "--store", url, str(target))
    assert {each.name for each in target.iterdir()} == {"holdfast.db", "blobs"}
    assert summary(run("fsck", "--store", str(target)))["findings"] == 0


@pytest.mark.parametrize("place", ["", "blobs"])
def test_a_backup_removes_no_file_that_is_not_its_own(tmp_path, place):
    url, target = (tmp_path / "store").as_uri(), tmp_path / "backup"
    with holdfast.Client(url) as client:
        fill(client, 6)
    run("backup", "--store", url, str(target))
    (target / "holdfast.db").rename(target / "holdfast.db.unfinished")
    (target / place / "notes.txt").write_text("mine")
    before = sorted(target.rglob("*"))
    refused = run("backup", "--store", url, str(target), expect=2)
    assert "it is not empty" in refused.stderr
    assert sorted(target.rglob("*")) == before


def test_two_backups_into_one_folder_and_one_into_the_store_are_refused(tmp_path):
    url, target = (tmp_path / "store").as_uri(), tmp_path / "backup"
    with holdfast.Client(url) as client:
        client.save("team", "w", b"x", format=FORMAT)
    target.mkdir()
    descriptor = os.open(target, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "another backup is writing it" in run("backup", "--store", url, str(target), expect=2).stderr
    os.close(descriptor)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for inside in ("store/backup", "link/blobs/backup"):
        assert "it is in the store" in run("backup", "--store", url, str(tmp_path / inside), expect=2).stderr
        assert not (tmp_path / inside).exists()


def save_and_purge_until(client, ends):
    number = 0
    while not ends.is_set():
        client.save("team", "purged", os.urandom(300_000), format=FORMAT, checkpoint_id=f"p{number}")
        client.delete("team", "purged", f"p{number}", purge=True)
        number += 1
