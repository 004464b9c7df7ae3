"""The policy: few bytes, few checkpoints on one base, and no time for what does not compress."""

from hashlib import sha256

import pytest
from holdfast_server.layout.v1.marker_pb2 import PartEncoding, StoredPart
from holdfast_server.protocol.format.invariants import MAX_BASES
from holdfast_server.protocol.payload import frames, policy
from holdfast_server.protocol.payload.policy import DeltaRules
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.deltas import noise, text


class History:
    """The successive versions of a part, each stored as the policy chooses."""

    def __init__(self, rules=DeltaRules()):  # noqa: B008 - it is frozen
        self.rules = rules
        self.versions = {}
        self.part = None
        self.choices = []
        self.encoded = 0
        # The versions that were encoded thoroughly.
        self.thorough = set()

    async def add(self, data):
        chain = [] if self.part is None else policy.chain_of(self.part, len(self.versions))

        async def encode(depth, *, thoroughly=False):
            self.encoded += 1
            if thoroughly:
                self.thorough.add(len(self.versions))
            base = self.versions[chain[depth - 1].revision] if depth else None
            return await frames.encode(data, base, thoroughly=thoroughly)

        plain_saves = 0 if self.part is None else self.part.plain_saves
        choice = await policy.choose(len(data), chain, plain_saves, encode, self.rules)
        self.versions[len(self.versions) + 1] = data
        self.part = StoredPart(
            size_bytes=len(data),
            sha256=sha256(data).digest(),
            encoding=choice.encoding,
            bases=choice.bases,
            stored_bytes=len(choice.frame or b""),
            plain_saves=choice.plain_saves,
        )
        self.choices.append(choice)
        return choice

    @property
    def stored_bytes(self):
        return sum(
            len(data) if choice.frame is None else len(choice.frame)
            for data, choice in zip(self.versions.values(), self.choices, strict=True)
        )


async def test_a_state_that_grows_is_stored_in_a_few_times_its_content():
    history, state = History(), b""
    for number in range(150):
        state += text(number, 700)
        await history.add(state)
    assert history.stored_bytes < 3 * len(state)
    # Whole copies would take 75 times.
    assert sum(map(len, history.versions.values())) > 70 * len(state)
    assert history.encoded < 2 * len(history.versions)


async def test_a_level_is_not_renewed_for_what_a_renewal_cannot_save():
    history, state = History(), text(0, 20_000)
    # Each version has bytes of its own beside the common ones: they cost the same on every base.
    for number in range(60):
        await history.add(state + text(number, 300))
    frames_of = [len(choice.frame) for choice in history.choices]
    assert [number for number, choice in enumerate(history.choices) if not choice.bases] == [0]
    assert history.stored_bytes < frames_of[0] + 60 * 1.1 * frames_of[1]


async def test_few_and_large_bases_are_compressed_thoroughly_when_they_are_renewed():
    history, state = History(DeltaRules(checkpoints_per_base=16)), b""
    for number in range(60):
        state += text(number, 4000)
        await history.add(state)
    depths = [len(choice.bases) for choice in history.choices]
    thorough = [number for number in range(len(depths)) if number in history.thorough and depths[number] < 2]
    renewed = [number for number, depth in enumerate(depths) if depth < 2 and number > 1]
    assert 0 in [depths[number] for number in thorough]
    # A version that joins a short chain is no renewal.
    joined = [number for number in renewed if depths[number] == 1 and depths[number - 1] == 0]
    assert thorough == [number for number in renewed if number not in joined]


@settings(deadline=None)
@given(st.integers(1, 9), st.lists(st.sampled_from(["append", "rewrite", "noise", "short"]), max_size=30))
async def test_no_chain_is_too_long_and_no_base_carries_too_many(most, shapes):
    history, state = History(DeltaRules(checkpoints_per_base=most)), text(0)
    resting = {}
    for number, shape in enumerate(shapes):
        state = text(number) if shape == "rewrite" else state + text(number, 50)
        data = {"noise": noise(number), "short": b"x"}.get(shape, state)
        choice = await history.add(data)
        revisions = [base.revision for base in choice.bases]
        assert len(revisions) <= MAX_BASES
        assert revisions == sorted(set(revisions))
        for revision in revisions:
            resting.setdefault(revision, []).append(number)
    assert all(len(each) <= most for each in resting.values())


async def test_what_does_not_compress_is_stored_as_it_is_and_is_hardly_ever_encoded():
    history = History()
    for number in range(256):
        choice = await history.add(noise(number))
        assert (choice.encoding, choice.frame) == (PartEncoding.PART_ENCODING_IDENTITY, None)
    assert history.encoded < 40


async def test_a_part_that_compresses_again_is_noticed_within_64_checkpoints():
    history = History()
    for number in range(100):
        await history.add(noise(number))
    choices = [await history.add(text(0) + text(number, 30)) for number in range(65)]
    assert choices[-1].frame is not None


async def test_bytes_that_do_not_compress_but_stay_the_same_rest_on_the_first_copy():
    history = History()
    await history.add(noise(1))
    choice = await history.add(noise(1))
    assert choice.frame is not None
    assert len(choice.frame) < 100


@pytest.mark.parametrize(("size", "is_encoded"), [(1023, False), (1024, True), (8 << 20, True), ((8 << 20) + 1, False)])
async def test_parts_from_1_kib_to_8_mib_are_encoded(size, is_encoded):
    choice = await History().add(bytes(size))
    assert (choice.frame is not None) == is_encoded


async def test_a_base_that_cannot_be_read_is_not_built_on():
    data = text(1)
    first = StoredPart(size_bytes=len(data), sha256=sha256(data).digest())

    async def encode(depth, *, thoroughly=False):
        return None if depth else await frames.encode(data)

    choice = await policy.choose(len(data), policy.chain_of(first, 1), 0, encode, DeltaRules())
    assert choice.encoding == PartEncoding.PART_ENCODING_ZSTD
    assert not choice.bases
