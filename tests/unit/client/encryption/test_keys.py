"""Keys are kept in files, and a keyring refuses keys that would lose something."""

import os
import stat

import holdfast
import pytest
from holdfast import EncryptionKeyMissingError, Keyring
from holdfast.encryption import LocalKey


def test_a_key_is_read_as_it_was_written(tmp_path):
    for key in (LocalKey.generate(), LocalKey("only", os.urandom(32))):
        key.write(tmp_path / key.id)
        assert LocalKey.read(tmp_path / key.id) == key
        assert stat.S_IMODE((tmp_path / key.id).stat().st_mode) == 0o600


def test_a_key_file_is_never_overwritten(tmp_path):
    LocalKey.generate().write(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(FileExistsError):
        LocalKey.generate().write(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"1",
        b"secret words",
        b'{"holdfast_key": 2, "id": "a", "key": "secret"}',
        b'{"holdfast_key": 1, "id": "a"}',
        b'{"holdfast_key": 1, "id": "a", "key": "secret"}',
        b'{"holdfast_key": 1, "id": 1, "key": "' + b"A" * 43 + b'="}',
        # A name with a mistake: without its label key, labels would not be found.
        b'{"holdfast_key": 1, "id": "a", "key": "' + b"A" * 43 + b'=", "labels_key": "secret"}',
        b"[" * 60_000,
        b'{"holdfast_key": 1, "id": "\xff\xfe", "key": "secret"}',
    ],
)
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match="does not hold a key of Holdfast") as caught:
        LocalKey.read(tmp_path / "key")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("around", [("", "\n\n"), ("\ufeff", "\r\n"), (" ", "")])
def test_a_file_that_an_editor_has_saved_again_is_read(tmp_path, around):
    key = LocalKey.generate()
    key.write(tmp_path / "key")
    text = (tmp_path / "key").read_text()
    (tmp_path / "key").write_bytes((around[0] + text + around[1]).encode())
    assert LocalKey.read(tmp_path / "key") == key


def test_a_file_that_others_can_read_or_write_is_refused(tmp_path):
    key = LocalKey.generate()
    key.write(tmp_path / "key")
    for mode in (0o644, 0o604, 0o602, 0o660, 0o777):
        (tmp_path / "key").chmod(mode)
        with pytest.raises(ValueError, match=f"others can read or write it: expected mode 400 to 640, got {mode:o}"):
            LocalKey.read(tmp_path / "key")
    for mode in (0o400, 0o440, 0o600, 0o640):
        (tmp_path / "key").chmod(mode)
        assert LocalKey.read(tmp_path / "key") == key


def test_what_is_no_file_is_refused(tmp_path):
    for path, error in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "none", FileNotFoundError),
        ("/dev/zero", ValueError),
    ):
        with pytest.raises(error):
            LocalKey.read(path)


@pytest.mark.parametrize("arguments", [("", os.urandom(32)), ("k" * 257, os.urandom(32)), ("k", b"short")])
def test_a_key_of_another_form_is_refused(arguments):
    with pytest.raises(ValueError, match="must have"):
        LocalKey(*arguments)


def test_neither_a_key_nor_a_keyring_shows_its_secret():
    key = LocalKey("name", b"s" * 32, b"s" * 32)
    for shown in (repr(key), repr(Keyring(key))):
        assert "name" in shown
        assert "ss" not in shown


def test_a_keyring_refuses_two_keys_with_one_id():
    with pytest.raises(ValueError, match="two keys have the id 'a'"):
        Keyring(LocalKey.generate("a"), LocalKey.generate("a"))


def test_a_keyring_refuses_keys_that_find_different_labels():
    old = LocalKey.generate("old")
    with pytest.raises(ValueError, match=r"successor\(\)"):
        Keyring(LocalKey.generate("new"), old)
    with pytest.raises(ValueError, match=r"successor\(\)"):
        Keyring(LocalKey("new", os.urandom(32)), old)
    assert Keyring(old.successor("new"), old).label_key == old.label_key


def test_a_keyring_unwraps_by_older_keys_and_names_one_that_is_missing():
    old = LocalKey.generate("old")
    data_key = Keyring(old).new_data_key()
    assert Keyring(old.successor(), old).data_key(data_key.key_id, data_key.wrapped) == data_key.key
    with pytest.raises(EncryptionKeyMissingError, match="no key 'old', only 'new'") as caught:
        Keyring(old.successor("new")).data_key(data_key.key_id, data_key.wrapped)
    assert caught.value.metadata == {"key_id": "old"}


def test_a_keyring_remembers_a_bounded_number_of_data_keys():
    keyring = Keyring(LocalKey.generate())
    for _ in range(1100):
        keyring.new_data_key()
    assert len(keyring._unwrapped) == 1024


@pytest.mark.parametrize("kind", [holdfast.Client, holdfast.AsyncClient])
def test_a_client_takes_nothing_but_a_keyring(kind):
    with pytest.raises(TypeError, match="encryption must be a Keyring"):
        kind("127.0.0.1:1", encryption=LocalKey.generate())
