"""`holdfast log`."""

import json

from tests.support.damage import damage_marker


async def test_a_log_is_shown_for_people_and_for_programs(run, served):
    for number in range(4):
        await run("save", "n", "w", "-", "--format", "f:1", "--id", f"c{number}", stdin=b"x")
    assert (await run("delete", "n", "w", "c0"))[0] == 0
    damage_marker(served.folder, newer=2)
    code, out, _ = await run("log", "n", "w")
    assert code == 0
    lines = out.decode().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["5", "4", "3", "2", "1"]
    assert "removed revisions 1" in lines[1]
    assert "CHECKPOINT_CORRUPTED" in lines[3]
    assert lines[5].endswith("c0; deleted by revision 5")
    code, out, _ = await run("log", "n", "w", "--json", "--before", "5", "--after", "2", "--limit", "9")
    assert [(each["revision"], each["kind"]) for each in json.loads(out)["entries"]] == [
        (4, "checkpoint"),
        (3, "damaged"),
    ]
    assert json.loads(out)["entries"][0]["checkpoint"]["checkpoint_id"] == "c3"
