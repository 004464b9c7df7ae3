"""Markers, built without the server's code."""

from holdfast_server.layout.v1.marker_pb2 import Marker, MarkerKind


def sound(revision: int, **fields: object) -> Marker:
    """Return a valid marker of a revision."""
    marker = Marker(
        kind=MarkerKind.MARKER_KIND_DATA,
        namespace="n",
        workflow_id="w",
        revision=revision,
        request_id=f"r{revision}",
        checkpoint_id=f"c{revision}",
        last_data_revision=revision,
        previous_data_revision=revision - 1,
        **fields,
    )
    marker.format.name, marker.format.version = "f", 1
    marker.create_time.seconds = 1_700_000_000
    marker.recent.add(revision=revision, request_id=f"r{revision}", checkpoint_id=f"c{revision}")
    return marker
