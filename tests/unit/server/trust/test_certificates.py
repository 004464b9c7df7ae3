"""The principal of a client certificate."""

import pytest
from holdfast_server.trust.certificates import principal_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({}, None),
        ({"transport_security_type": [b"ssl"]}, None),
        ({"x509_common_name": [b""]}, None),
        ({"x509_common_name": [b"worker"]}, ("cert:worker",)),
        ({"x509_subject_alternative_name": [b"a.example", b"b.example"]}, ("cert:a.example", "cert:b.example")),
        (
            {"x509_common_name": [b"a.example"], "x509_subject_alternative_name": [b"a.example", b"b.example"]},
            ("cert:a.example", "cert:b.example"),
        ),
        (
            {
                "x509_common_name": [b"worker"],
                "x509_subject_alternative_name": [b"spiffe://x/y"],
                "peer_spiffe_id": [b"spiffe://x/y"],
            },
            ("spiffe://x/y",),
        ),
        ({"x509_common_name": [b"two\nlines"]}, None),
        ({"x509_common_name": [b"\xff"]}, None),
    ],
)
def test_the_name_is_the_spiffe_id_or_else_the_common_or_an_alternative_name(certificate, expected):
    found = principal_of(certificate)
    assert (found and found.identities) == expected
    if found is not None:
        assert found.name == expected[0]
        assert found.expires_at is None


@given(st.dictionaries(st.sampled_from(["x509_common_name", "x509_subject_alternative_name"]), st.lists(st.binary())))
def test_a_certificate_without_a_spiffe_id_never_gets_the_name_of_another_kind_of_principal(certificate):
    found = principal_of(certificate)
    assert found is None or all(each.startswith("cert:") and each.isprintable() for each in found.identities)
