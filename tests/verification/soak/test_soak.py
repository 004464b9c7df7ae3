"""A short soak on each store, and tests of its audit."""

from collections import Counter

import pytest

from tests.support.budget import amount, full
from tests.support.damage import damage_all
from tests.verification.soak.ledger import Acknowledged, Ledger, digest_of
from tests.verification.soak.samples import Sample, growth
from tests.verification.soak.soak import soak
from tests.verification.soak.world import bucket, folder, with_log_lines

# Usually long enough for each kind of event to strike once.
SECONDS = amount(small=15, full=25)
EVENTS = {"kill_server", "stop_server", "collect", "hurt_store"}


def is_enough(ledger: Ledger, events: Counter[str]) -> bool:
    over = sum(workflow.is_over for workflow in ledger.workflows.values())
    return set(events) == EVENTS and bool(ledger.failures["WRITER_FENCED"]) and over > 5


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["file", full("s3")])
async def test_a_short_soak_ends_with_nothing_wrong(kind, request, tmp_path):
    if kind == "s3":
        # Skips or fails the test if there is no S3 server.
        request.getfixturevalue("s3_endpoint")
    with (bucket if kind == "s3" else folder)(tmp_path) as store:
        result = await soak(store, SECONDS, pause_seconds=1.0, is_enough=is_enough)
    assert result.wrong == []
    assert result.checked["checkpoints"] > 100


@pytest.mark.needs_budget("full")
@pytest.mark.timeout(200)
async def test_the_audit_notices_lost_and_rotten_checkpoints_and_those_that_should_be_gone(tmp_path):
    def spoil(ledger: Ledger) -> None:
        kept = ledger.workflows["kept", "w0"]
        kept.acknowledged["never"] = Acknowledged(1, digest_of(b"never"), expires=False)
        chosen = next(iter(kept.acknowledged))
        kept.acknowledged[chosen] = Acknowledged(kept.acknowledged[chosen].revision, digest_of(b"x"), expires=False)
        ledger.workflows["kept", "w1"].is_over = True
        damage_all(tmp_path / "store", "w2")

    with folder(tmp_path) as store:
        result = await soak(store, 8, pause_seconds=100, before_audit=spoil)
    reported = "\n".join(result.wrong)
    for what in (
        "kept/w0: never of revision 1 was acknowledged and is gone",
        "has content that was not saved there",
        "kept/w1: the workflow was deleted, and has",
        "kept/w1 was deleted and left",
        "CHECKPOINT_CORRUPTED",
        "the check found",
    ):
        assert what in reported


def test_growth_is_noticed():
    flat = [Sample(80.0 + each % 3, 50) for each in range(30)]
    assert growth(flat) == []
    assert growth([*flat[:-1], Sample(150.0, 50)]) == []
    assert growth([Sample(80.0 + 3 * each, 50) for each in range(30)])
    assert growth([*flat, Sample(80.0, 1000)])


def test_a_failure_comes_with_the_lines_of_the_servers_log(tmp_path):
    trace_id = "fb59cfeb1b48b0daafb65c8579ef16a6"
    line = f'{{"trace_id": "{trace_id}", "exception": "ValueError: x"}}'
    (tmp_path / "log").write_text(f'{line}\n{{"trace_id": "another"}}\n')
    reported = with_log_lines(f"save: INTERNAL (trace {trace_id})", tmp_path / "log")
    assert reported.splitlines()[1:] == [f"  logged: {line}"]
    assert with_log_lines("a workflow is gone", tmp_path / "log") == "a workflow is gone"
