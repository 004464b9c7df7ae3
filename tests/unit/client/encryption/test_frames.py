"""Sealed data opens at its own place, whole and unchanged, or not at all."""

import os
from base64 import b64decode
from dataclasses import fields, replace

import pytest
from holdfast import CheckpointCorruptedError, EncryptionKeyMissingError, InvalidRequestError, Keyring, Record
from holdfast._encryption import compression, cover
from holdfast._encryption.frames import Opener, Sealer, opened
from holdfast._encryption.layout import (
    COMPRESSED,
    COVER,
    FINAL,
    FRAME_BYTES,
    PART,
    PLAIN_BYTES,
    RECORD,
    WORD_BYTES,
    Place,
    parsed,
)
from holdfast._encryption.rewrapped import keys_in
from hypothesis import given
from hypothesis import strategies as st

from tests.support import encryption_vectors as vectors

PLACE = Place(PART, "n", "w", "c", "p", "f", 1, "part", b"m" * 32)
RING = Keyring(vectors.KEY)


def seal(plain, place=PLACE, *, is_compressed=False, frame_bytes=PLAIN_BYTES):
    return Sealer(RING.new_data_key(), place, is_compressed=is_compressed, frame_bytes=frame_bytes).sealed(plain)


def open_(sealed, place=PLACE, ring=RING):
    found = bytearray()
    opened(sealed, place, ring.data_key, found.extend)
    return bytes(found)


def frames_of(sealed):
    """Return the header of sealed data, and its frames."""
    _, start = parsed(sealed)
    frames, header = [], sealed[:start]
    while start < len(sealed):
        end = start + WORD_BYTES + (int.from_bytes(sealed[start : start + WORD_BYTES]) & (COMPRESSED - 1))
        frames.append(sealed[start:end])
        start = end
    return header, frames


def test_the_vectors_are_what_the_client_makes():
    document = vectors.written()
    [last] = document["vectors"][-1:]
    assert document == vectors.document(last)


@pytest.mark.parametrize("vector", vectors.written()["vectors"], ids=lambda vector: vector["name"])
def test_the_vectors_can_be_opened(vector):
    plain = open_(vectors.bytes_of(vector, "sealed"), vectors.place_of(vector))
    assert plain == vectors.bytes_of(vector, "plain")


@pytest.mark.parametrize("vector", vectors.written()["vectors"], ids=lambda vector: vector["name"])
def test_the_vectors_can_be_opened_by_the_next_key_alone(vector):
    record = vectors.written()["rewrapped"]["record"]
    ring = Keyring(vectors.NEXT_KEY)
    with pytest.raises(EncryptionKeyMissingError):
        open_(vectors.bytes_of(vector, "sealed"), vectors.place_of(vector), ring)
    ring.learn(keys_in([Record(record["key"], b64decode(record["data"]))]))
    plain = open_(vectors.bytes_of(vector, "sealed"), vectors.place_of(vector), ring)
    assert plain == vectors.bytes_of(vector, "plain")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("size", [0, 1, PLAIN_BYTES - 1, PLAIN_BYTES, PLAIN_BYTES + 1, 3 * PLAIN_BYTES])
def test_data_of_any_size_is_opened_as_it_was_sealed(size, is_compressed):
    for plain in (os.urandom(size), bytes(size)):
        sealed = seal(plain, is_compressed=is_compressed)
        _, frames = frames_of(sealed)
        assert len(frames) == max(1, -(-size // PLAIN_BYTES))
        assert max(map(len, frames)) <= FRAME_BYTES
        assert open_(sealed) == plain


@given(st.binary(max_size=80), st.integers(1, 20), st.lists(st.integers(1, 40), max_size=20), st.booleans())
def test_pieces_of_any_size_can_be_sealed_and_opened(plain, frame_bytes, sizes, is_compressed):
    sealer = Sealer(RING.new_data_key(), PLACE, is_compressed=is_compressed, frame_bytes=frame_bytes)
    sealed = b"".join(sealer.pieces(cut(plain, sizes)))
    found = []
    opener = Opener(PLACE, RING.data_key, found.append)
    for piece in cut(sealed, sizes):
        opener.write(piece)
    opener.finish()
    assert b"".join(found) == plain


def cut(data, sizes):
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
    yield data[start:]


@given(st.data())
def test_a_changed_byte_anywhere_is_noticed(data):
    is_compressed = data.draw(st.booleans())
    sealed = bytearray(seal(b"secret " * 30, is_compressed=is_compressed, frame_bytes=150))
    index = data.draw(st.integers(0, len(sealed) - 1))
    sealed[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CheckpointCorruptedError, EncryptionKeyMissingError)):
        open_(bytes(sealed))


@given(st.data())
def test_data_that_is_cut_or_extended_anywhere_is_noticed(data):
    sealed = seal(b"secret " * 10, frame_bytes=16)
    end = data.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(CheckpointCorruptedError):
        open_(sealed[:end])
    with pytest.raises(CheckpointCorruptedError):
        open_(sealed + data.draw(st.binary(min_size=1, max_size=40)))


@given(st.lists(st.integers(0, 4), max_size=6).filter(lambda order: order != [0, 1, 2, 3, 4]))
def test_frames_that_are_reordered_repeated_or_left_out_are_noticed(order):
    header, frames = frames_of(seal(b"0123456789" * 5, frame_bytes=10))
    with pytest.raises(CheckpointCorruptedError):
        open_(header + b"".join(frames[index] for index in order))


def test_a_frame_that_is_marked_as_final_or_as_not_final_is_noticed():
    header, frames = frames_of(seal(b"0123456789" * 2, frame_bytes=10))
    for index in (0, 1):
        flipped = bytearray(frames[index])
        flipped[0] ^= FINAL >> 24
        with pytest.raises(CheckpointCorruptedError):
            open_(header + b"".join([*frames[:index], flipped]))


def test_a_frame_of_other_data_under_the_same_data_key_is_noticed():
    data_key = RING.new_data_key()
    one, other = (Sealer(data_key, PLACE, is_compressed=False).sealed(plain) for plain in (b"one", b"two"))
    header, _ = frames_of(one)
    _, frames = frames_of(other)
    with pytest.raises(CheckpointCorruptedError):
        open_(header + frames[0])


OTHERS = {
    "kind": RECORD,
    "namespace": "other",
    "workflow_id": "other",
    "checkpoint_id": "other",
    "parent_id": "",
    "format_name": "other",
    "format_version": 2,
    "name": "",
    "cover": b"o" * 32,
}


@pytest.mark.parametrize("field", [field.name for field in fields(Place)])
def test_sealed_data_does_not_open_at_another_place(field):
    sealed = seal(b"secret")
    with pytest.raises(CheckpointCorruptedError) as caught:
        open_(sealed, replace(PLACE, **{field: OTHERS[field]}))
    assert caught.value.metadata["cause"] == "decryption"


def test_fields_that_join_to_the_same_text_are_different_places():
    sealed = seal(b"secret", replace(PLACE, namespace="ab", workflow_id="c"))
    with pytest.raises(CheckpointCorruptedError):
        open_(sealed, replace(PLACE, namespace="a", workflow_id="bc"))


def test_a_header_that_names_another_key_of_the_keyring_is_noticed():
    other = vectors.KEY.successor("another")
    ring = Keyring(vectors.KEY, other)
    sealed = seal(b"secret").replace(b"vectors-1", b"another", 1)
    sealed = sealed[:10] + (7).to_bytes(2) + sealed[12:]
    with pytest.raises(CheckpointCorruptedError, match="did not wrap it"):
        open_(sealed, ring=ring)


def test_a_data_key_that_was_wrapped_for_other_data_is_noticed():
    one, other = parsed(seal(b"one")), seal(b"two")
    forged = replace(parsed(other)[0], wrapped=one[0].wrapped).encoded() + other[parsed(other)[1] :]
    with pytest.raises(CheckpointCorruptedError, match="its data key is another one"):
        open_(forged)


def test_a_second_pass_gives_the_same_bytes():
    sealer = Sealer(RING.new_data_key(), PLACE, is_compressed=True)
    plain = os.urandom(1 << 20) + bytes(1 << 20)
    assert sealer.sealed(plain) == sealer.sealed(plain)


def test_a_second_pass_over_other_data_gives_away_no_frame_of_it():
    sealer = Sealer(RING.new_data_key(), PLACE, is_compressed=False)
    sealer.sealed(b"first")
    pieces = sealer.pieces([b"other"])
    assert next(pieces) == sealer.header
    with pytest.raises(InvalidRequestError, match="must not change while it is saved"):
        next(pieces)


def test_two_seals_of_the_same_data_have_nothing_in_common():
    _, [one] = frames_of(seal(b"secret" * 10))
    _, [other] = frames_of(seal(b"secret" * 10))
    assert one[WORD_BYTES:] != other[WORD_BYTES:]


def test_a_frame_that_would_decompress_to_more_than_a_frame_is_refused(monkeypatch):
    bomb = compression._ZSTD.compress(bytes(64 << 20))
    monkeypatch.setattr(compression, "compressed", lambda data: bomb)
    sealed = seal(b"x" * 200, is_compressed=True)
    with pytest.raises(CheckpointCorruptedError, match="at most 1 MiB"):
        open_(sealed)


@pytest.mark.parametrize("junk", [b"", b"no frame", compression._ZSTD.compress(b"a") + b"more"])
def test_a_frame_whose_compressed_data_is_not_one_zstd_frame_is_refused(monkeypatch, junk):
    monkeypatch.setattr(compression, "compressed", lambda data: junk)
    with pytest.raises(CheckpointCorruptedError):
        open_(seal(b"x" * 200, is_compressed=True))


def test_a_header_of_a_later_version_is_refused():
    sealed = bytearray(seal(b"secret"))
    sealed[8] = 2
    with pytest.raises(CheckpointCorruptedError, match="suite 2"):
        open_(bytes(sealed))


def test_a_place_says_which_data_cannot_be_decrypted():
    messages = {
        kind: replace(PLACE, kind=kind).damaged("why").message.split(" cannot")[0] for kind in (PART, COVER, RECORD)
    }
    assert messages == {
        PART: "part 'part' of checkpoint 'c'",
        COVER: "the cover of checkpoint 'c'",
        RECORD: "record 'part' of checkpoint 'c'",
    }


@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5), st.lists(st.text(max_size=5), unique=True)
)
def test_a_cover_has_its_labels_if_the_parts_are_the_same(labels, parts):
    content = cover.content(labels, parts)
    assert cover.labels_in(content, parts) == labels
    with pytest.raises(ValueError, match="other parts"):
        cover.labels_in(content, [*parts, "another"])


@given(st.binary(max_size=12000))
def test_a_sealed_cover_is_stored_in_labels_of_at_most_1024_characters(sealed):
    pieces = cover.pieces(sealed)
    assert cover.sealed_in({**pieces, "other": "label"}) == sealed
    assert all(len(piece) <= 1024 for piece in pieces.values())
    assert len(pieces) <= 16
