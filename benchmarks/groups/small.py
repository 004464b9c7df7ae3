"""Saves and loads of 4 KiB on a folder."""

from benchmarks import savers, servers, subjects
from benchmarks.measure import compare
from benchmarks.report import print_figures
from benchmarks.setting import EMBEDDED, POSTGRES, REMOTE, SQLITE, Setting

# It knows no pipeline, so that the SDK calls it one by one.
NOTHING = "empty service"


async def run(setting: Setting) -> None:
    """Measure and print them."""
    stores = setting.folder / "small"
    plain = stores / "plain"
    plain.mkdir(parents=True)
    with (
        servers.holdfast((stores / "remote").as_uri()) as (target, pid),
        servers.nothing() as (nothing, nothing_pid),
    ):
        opened = {
            REMOTE: subjects.sdk(target, pid),
            EMBEDDED: subjects.sdk((stores / "embedded").as_uri()),
            NOTHING: subjects.sdk(nothing, nothing_pid),
            f"{REMOTE}, plain gRPC": subjects.stub(target, pid),
            f"{NOTHING}, plain gRPC": subjects.stub(nothing, nothing_pid),
            "fsynced files": subjects.files(plain),
            SQLITE: subjects.saves(savers.sqlite(stores)),
        }
        if setting.postgres:
            opened[POSTGRES] = subjects.saves(savers.postgres(setting.postgres.url), setting.postgres.pid)
        figures = await compare(opened, setting.effort)
    print_figures("4 KiB on file://", figures, [name for name in (NOTHING, SQLITE, POSTGRES) if name in opened])
