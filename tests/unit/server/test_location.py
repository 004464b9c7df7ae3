"""A store's URL is parsed as a whole or refused, so that no part of it is silently dropped."""

import os
from pathlib import Path

import pytest
from holdfast_server.config import ConfigError
from holdfast_server.config_sources import load
from holdfast_server.location import BucketLocation, ContainerLocation, FolderLocation, parse
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_plain_path_names_exactly_that_folder(names):
    path = "/" + "/".join(names)
    assert parse(load({"store": path}, {}, Path("/here")).store) == FolderLocation(Path(path))


@given(
    st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b".."))
)
def test_names_that_are_not_unicode_are_kept(name):
    path = os.fsdecode(b"/" + name)
    assert parse(load({"store": path}, {}, Path("/here")).store) == FolderLocation(Path(path))


@pytest.mark.parametrize("path", ["run#1", "run?2", "./run;3", "a b", "100%", "%41", "~x", "-x"])
def test_a_relative_path_starts_at_the_working_folder(path):
    assert parse(load({"store": path}, {}, Path("/here")).store) == FolderLocation(Path("/here") / path)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("file:///x/run%231", FolderLocation(Path("/x/run#1"))),
        ("file:///x/run%3F2", FolderLocation(Path("/x/run?2"))),
        ("file:///x/a b", FolderLocation(Path("/x/a b"))),
        ("s3://b", BucketLocation("b", "")),
        ("s3://b/", BucketLocation("b", "")),
        ("s3://b/a/b/", BucketLocation("b", "a/b")),
        ("s3://b/100%/a%20b", BucketLocation("b", "100%/a%20b")),
        ("az://container", ContainerLocation("container", "")),
        ("az://my-container-2/a/b/", ContainerLocation("my-container-2", "a/b")),
    ],
)
def test_a_url_names_a_folder_or_a_prefix_of_a_bucket_or_container(url, location):
    assert parse(url) == location


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///x/run#1", "written as %23"),
        ("file:///x/run?2", "written as %3F"),
        ("file:///x/a\tb", "written as %09"),
        ("s3://b/run#1", "bucket or prefix must not contain"),
        ("s3://b/run?2", "bucket or prefix must not contain"),
        ("s3://b?region=x", "bucket or prefix must not contain"),
        ("s3://user@b/x", "name of a bucket"),
        ("s3://b:80/x", "name of a bucket"),
        ("s3:///x", "name of a bucket"),
        ("s3://b/a\nb", "written as %0A"),
        ("az://container@account/x", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://account.blob.core.windows.net/container", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://Container/x", "container's name of 3 to 63"),
        ("az://a--b/x", "container's name of 3 to 63"),
        ("az://ab", "container's name of 3 to 63"),
        ("az:///x", "container's name of 3 to 63"),
        ("az://container/run#1", "container or prefix must not contain"),
        ("az://container/a\nb", "written as %0A"),
        ("gs://b/x", "expected a path, file:///path, s3"),
        ("file://host/x", "absolute, without a host"),
        ("file://x", "absolute, without a host"),
        ("file:////x", "absolute, without a host"),
        ("file:///", "absolute, without a host"),
        ("file:///a%00b", "NUL"),
        ("http://b/x", "expected a path, file:///path, s3"),
        ("", "expected a path, file:///path, s3"),
    ],
)
def test_a_url_with_a_part_that_would_be_dropped_is_refused(url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load({"store": url}, {}, Path("/here"))
    assert str(caught.value).startswith(f"store: invalid location {url!r}: ")
