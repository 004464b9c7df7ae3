import holdfast

from benchmarks import stored


def test_the_bytes_of_a_store_are_counted_once_by_what_they_are_for(tmp_path):
    folder = tmp_path / "store"
    with holdfast.Client(folder.as_uri()) as client:
        checkpoint = client.save("ns", "w", b"x" * 1000, format=holdfast.Format("f", 1), checkpoint_id="chosen")
        client.save("ns", "w", bytes(100_000), format=holdfast.Format("f", 1), parent_id=checkpoint.checkpoint_id)
    found = stored.objects(folder)
    assert set(found.sizes) == {"payload", "markers", "claims", "other"}
    assert 0 < found.sizes.total() < stored.in_folder(folder)
