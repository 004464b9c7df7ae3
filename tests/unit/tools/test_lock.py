import pytest

from tools import lock


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """Write a lock of the group that needs build>=1.3 and twine on Linux."""
    projects = {"dependency-groups": {"release": ["build>=1.3,<2", "Twine>=6; platform_system == 'Linux'"]}}
    monkeypatch.setattr(lock, "_toml", lambda folder: projects)
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    monkeypatch.setitem(lock.LOCKS, "release", lock.Lock(("release",)))
    return (tmp_path / "release.txt").write_text


def test_a_lock_that_satisfies_its_group_is_not_stale(locked):
    locked("build==1.6.1 \\\n    --hash=sha256:0\ntwine==7.0.0 ; sys_platform == 'linux' \\\n    --hash=sha256:0\n")
    assert lock.stale("release") == []


def test_a_requirement_that_a_lock_lacks_is_stale(locked):
    locked("build==1.6.1 \\\n    --hash=sha256:0\n")
    [problem] = lock.stale("release")
    assert problem.startswith("requirements/release.txt: expected Twine>=6")
    assert problem.endswith("found nothing")


def test_a_version_that_the_group_excludes_is_stale_for_any_python(locked):
    locked("build==1.6.1 ; python_full_version < '3.12'\nbuild==2.0.0 ; python_full_version >= '3.12'\ntwine==7.0.0\n")
    assert lock.stale("release") == ["requirements/release.txt: expected build<2,>=1.3, found 1.6.1, 2.0.0"]


def test_the_locks_of_the_repository_satisfy_their_groups():
    assert [problem for name in lock.LOCKS for problem in lock.stale(name)] == []
