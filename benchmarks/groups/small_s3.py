"""Saves and loads of 4 KiB on S3, with both clients of S3, beside the same clients without Holdfast."""

from benchmarks import servers, subjects
from benchmarks.measure import compare
from benchmarks.report import print_figures
from benchmarks.setting import Setting

CLIENTS = ("aioboto3", "obstore")


async def run(setting: Setting) -> None:
    """Measure and print them."""
    if setting.s3 is None:
        return
    endpoint, bucket = setting.s3.endpoint, setting.s3.bucket
    with (
        servers.holdfast(f"s3://{bucket}/small-aioboto3", s3_client="aioboto3") as (aioboto3, aioboto3_pid),
        servers.holdfast(f"s3://{bucket}/small-obstore", s3_client="obstore") as (obstore, obstore_pid),
    ):
        opened = {
            "Holdfast, aioboto3": subjects.sdk(aioboto3, aioboto3_pid),
            "Holdfast, obstore": subjects.sdk(obstore, obstore_pid),
            "plain aioboto3": subjects.aioboto3_objects(endpoint, bucket),
            "plain obstore": subjects.obstore_objects(endpoint, bucket),
        }
        figures = await compare(opened, setting.effort)
    print_figures("4 KiB on s3://", figures, ["plain aioboto3", "plain obstore"])
