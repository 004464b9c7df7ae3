"""Streamed saves as a state machine: callers whose streams break and resume in any order."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.support.budget import amount
from tests.support.inline_loop import run
from tests.support.planted import planted
from tests.verification.fuzz.defects import DEFECTS
from tests.verification.fuzz.uploads import PAYLOADS, Uploads

SETTINGS = settings(
    max_examples=amount(small=25, full=120),
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
WHICH = st.integers(0, 3)


class Streams(RuleBasedStateMachine):
    """The possible steps. `uploads` has the checks."""

    def __init__(self):
        super().__init__()
        self.uploads = None
        run(self._begin())

    async def _begin(self):
        self.uploads = Uploads()

    def teardown(self):
        run(self.uploads.close())

    @precondition(lambda self: len(self.uploads.streams) < 4)
    @rule(request=st.sampled_from(sorted(PAYLOADS)), resumes=st.booleans())
    def begin(self, request, resumes):
        self._do(lambda: self.uploads.begin(request, resumes=resumes), 6)

    @precondition(lambda self: self.uploads.streams)
    @rule(which=WHICH, pieces=st.integers(1, 4), turns=st.integers(0, 12))
    def send(self, which, pieces, turns):
        def do():
            for _ in range(pieces):
                self.uploads.send(self._stream(which))

        self._do(do, turns)

    @precondition(lambda self: self.uploads.streams)
    @rule(which=WHICH, wrong=st.integers(0, 5), turns=st.integers(0, 12))
    def send_wrong(self, which, wrong, turns):
        self._do(lambda: self.uploads.send_wrong(self._stream(which), wrong), turns)

    @precondition(lambda self: self.uploads.streams)
    @rule(which=WHICH, turns=st.integers(0, 12))
    def end_early(self, which, turns):
        self._do(lambda: self.uploads.end(self._stream(which)), turns)

    @precondition(lambda self: self.uploads.streams)
    @rule(which=WHICH, turns=st.integers(0, 12))
    def break_off(self, which, turns):
        self._do(lambda: self.uploads.cancel(self._stream(which)), turns)

    @rule()
    def fail_in_the_store(self):
        self.uploads.store.fails_next = True

    @rule(turns=st.integers(1, 40))
    def wait(self, turns):
        self._do(lambda: None, turns)

    def _stream(self, which):
        return self.uploads.streams[which % len(self.uploads.streams)]

    def _do(self, action, turns):
        async def act():
            action()
            await self.uploads.turn(turns)

        run(act())


def test_the_payload_is_committed_and_no_upload_stays_open_however_streams_break():
    run_state_machine_as_test(Streams, settings=SETTINGS)


@pytest.mark.parametrize("request_id", sorted(PAYLOADS))
def test_a_stream_that_breaks_after_every_second_message_finally_commits_its_payload(request_id):
    async def resume_until_committed():
        uploads = Uploads()
        for _ in range(100):
            uploads.begin(request_id, resumes=True)
            await uploads.turn(20)
            (stream,) = uploads.streams
            # The second message ends the part. Nothing else ends an empty one.
            for _ in range(2):
                uploads.send(stream)
                await uploads.turn(60)
            if uploads.committed:
                break
            uploads.cancel(stream)
            await uploads.turn(20)
        await uploads.close()
        return uploads.committed

    assert run(resume_until_committed()) == 1


def test_no_more_than_sixteen_uploads_are_kept_for_their_retries():
    async def break_many():
        uploads = Uploads()
        for number in range(40):
            PAYLOADS[f"of-many-{number}"] = PAYLOADS["large"]
            uploads.begin(f"of-many-{number}", resumes=False)
            await uploads.turn(20)
            uploads.send(uploads.streams[0])
            await uploads.turn(20)
            uploads.cancel(uploads.streams[0])
            await uploads.turn(20)
            del PAYLOADS[f"of-many-{number}"]
            assert uploads.store.open_uploads <= 16
        still_open = uploads.store.open_uploads
        await uploads.close()
        return still_open

    assert run(break_many()) == 16


def test_the_state_machine_notices_a_planted_defect():
    defect = next(each for each in DEFECTS if each.target == "incoming")
    unshrunk = settings(SETTINGS, max_examples=2000, phases=[Phase.generate])
    with planted(defect), pytest.raises(AssertionError):
        run_state_machine_as_test(Streams, settings=unshrunk)
