"""SQLite's JSONB is read as SQLite itself reads it, and damaged data is refused."""

import json

import pytest
from holdfast.adapters.sqlite_jsonb import json_text
from hypothesis import given
from hypothesis import strategies as st

from tests.support.jsonb import jsonb

# JSON, and the hexadecimal bytes that SQLite 3.51 makes of it.
BY_SQLITE = [
    ("null", "00"),
    ("[true, false]", "2b0102"),
    ("[Infinity, -Infinity]", "cb0d553965393939652d3965393939"),
    ("[NaN]", "1b00"),
    ("[1, -2, 0.5, 1e+16, -1.5e-07]", "cb181331232d3235302e355531652b3136852d312e35652d3037"),
    ('"abc"', "37616263"),
    (r'"Zo\u00eb \ud83d\ude00 \n \""', "c81b5a6f5c7530306562205c75643833645c7564653030205c6e205c22"),
    (r'"\ud800"', "685c7564383030"),
    ('{"a": {"b": []}, "": {}}', "8c17613c17620b070c"),
    ('"xxxxxxxxxxxx"', "c70c787878787878787878787878"),
    (f'"{"x" * 300}"', f"d7012c{'78' * 300}"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.text("x", min_size=250),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=13), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("text", "data"), BY_SQLITE)
def test_what_sqlite_writes_is_read(text, data):
    loaded = json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name))
    assert json.loads(json_text(bytes.fromhex(data))) == loaded
    assert jsonb(text).hex() == data


def test_characters_are_read_with_and_without_escapes():
    assert json.loads(json_text(bytes.fromhex("475a6fc3ab"))) == "Zoë"
    # JSON escapes the quotation mark of a raw text.
    assert json.loads(json_text(bytes.fromhex("3a612262"))) == 'a"b'


@given(VALUES)
def test_every_value_is_read_as_an_equal_value(value):
    assert json.loads(json_text(jsonb(json.dumps(value)))) == value


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0000",
        "10",
        "11",
        "3761",
        "c7",
        "ff00",
        "17ff",
        "185c",
        "2822",
        "1341",
        "0e",
        "4330783141",
        "1b37",
        "2c1331",
        "4c13311332",
        "2c1761",
    ],
)
def test_data_that_is_not_jsonb_is_refused(data):
    with pytest.raises(ValueError, match="invalid JSONB"):
        json_text(bytes.fromhex(data))


@given(st.binary(max_size=40))
def test_any_other_data_is_json_or_refused(data):
    try:
        text = json_text(data)
    except ValueError:
        return
    json.loads(text)
