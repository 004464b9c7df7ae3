"""The encryption format without the SDK: a Go program decrypts the test vectors, and what the client has sealed."""

import json
import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from dataclasses import asdict
from pathlib import Path

import pytest
from holdfast._encryption.frames import Sealer
from holdfast._encryption.layout import PART, Place

from tests.support import encryption_vectors as vectors
from tests.support.required import require

FOLDER = Path(__file__).parent / "go"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("go") is None:
        require("no Go: `go` not found")
    built = tmp_path_factory.mktemp("go") / "interop"
    done = subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", built, "."], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return built


def opened_by(program, document):
    done = subprocess.run([program], input=json.dumps(document).encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_go_program_decrypts_every_vector_by_each_of_its_keys_and_notices_what_was_changed(program):
    document = vectors.written()
    found = opened_by(program, document)
    assert found["plain"] == {vector["name"]: vector["plain"] for vector in document["vectors"]}
    assert found["digests"] == document["labels"]["digests"]


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_go_program_decrypts_frames_of_full_size(program, is_compressed):
    place = Place(PART, "n", "w", "c", "", "f", 1, "große", os.urandom(32))
    plain = os.urandom(1 << 20) + bytes(2 << 20)
    sealed = Sealer(vectors.data_key(7), place, is_compressed=is_compressed).sealed(plain)
    document = vectors.written()
    del document["rewrapped"]
    document["vectors"] = [
        {
            "name": "large",
            "place": asdict(place) | {"cover": place.cover.hex()},
            "sealed": b64encode(sealed).decode(),
        }
    ]
    assert b64decode(opened_by(program, document)["plain"]["large"]) == plain
