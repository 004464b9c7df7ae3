"""States of Burr: every saved state can be loaded, and no loaded state runs code that the data chooses."""

import json
import sys
import types

import holdfast
import pytest
from hypothesis import HealthCheck, given, settings

from tests.integration.adapters import values
from tests.support.required import require_engine

require_engine("burr")

from burr.core import State, serde  # noqa: E402
from burr.core.state import FIELD_SERIALIZATION, register_field_serde  # noqa: E402
from burr.integrations.serde import pickle as burr_pickle  # noqa: E402
from burr.integrations.serde import pydantic as _registered  # noqa: E402, F401
from holdfast.adapters.burr import FORMAT, HoldfastPersister, UnsavableValueError, workflow_id  # noqa: E402
from pydantic import BaseModel, Field, field_validator  # noqa: E402

NAMESPACE = "states"


class Point(BaseModel):
    x: int
    tags: list[str] = []


class Stranger(BaseModel):
    x: int = 0

    def model_post_init(self, context):
        ran.append("Stranger")


class Growing(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def grow(cls, n):
        return n + 1


class Renamed(BaseModel):
    n: int = Field(alias="other")


class WithSecret(BaseModel):
    n: int
    kept: int = Field(default=0, exclude=True)


ran: list[str] = []


@pytest.fixture(scope="module")
def client(target):
    with holdfast.Client(target, timeout=20) as client:
        yield client


@pytest.fixture
def app_id(request):
    return request.node.name[-200:]


@pytest.fixture
def persister(client):
    ran.clear()
    return HoldfastPersister(client, namespace=NAMESPACE, allowed_classes=[Point, Growing, Renamed, "lc_message"])


def put(persister, app_id, state):
    persister.save("p", app_id, 0, "step", State(state), "completed")


def crafted(client, app_id, state, **labels):
    """Save a state that no persister would save."""
    client.save(
        NAMESPACE,
        workflow_id("p", app_id),
        state if isinstance(state, bytes) else json.dumps(state).encode(),
        format=FORMAT,
        labels={"sequence_id": "0", "position": "step", "status": "completed", **labels},
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(state=values.anything())
def test_any_state_is_either_loaded_as_burr_serialised_it_or_refused_by_its_path(client, state):
    persister = HoldfastPersister(client, namespace="property", ownership="shared")
    app_id = f"{next(_numbers)}"
    refused = None
    try:
        put(persister, app_id, {"value": state})
    except UnsavableValueError as error:
        refused = error
    if refused is not None:
        assert refused.path.startswith("state['value']")
        assert refused.path in str(refused)
        assert isinstance(refused, holdfast.InvalidRequestError)
        assert persister.load("p", app_id) is None
        return
    found = persister.load("p", app_id)["state"]["value"]
    assert values.as_json(found) == values.as_json(serde.serialize(state))


_numbers = iter(range(1 << 30))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (values.deep(250), "state['value']"),
        ({"a": [1, {"b": 10**5000}]}, "state['value']['a'][1]['b']"),
        ({"a": {1: "x", "1": "y"}}, "state['value']['a']"),
        ([{(1, 2): 3}], "state['value'][0]"),
        (["\ud83c\udf00"], "state['value'][0]"),
        ({"a": {"__burr_serde__": "pydantic", "__pydantic_class": "os.path"}}, "state['value']['a']"),
        ({"a": {"__burr_serde__": 1}}, "state['value']['a']"),
        ([Stranger()], "state['value'][0]"),
        ([Growing(n=1)], "state['value'][0]"),
        ([Renamed(other=1)], "state['value'][0]"),
    ],
)
def test_a_value_that_could_not_be_loaded_is_refused_by_its_path_and_the_state_before_stays(
    persister, app_id, value, path
):
    put(persister, app_id, {"n": 0})
    with pytest.raises(UnsavableValueError) as refused:
        persister.save("p", app_id, 1, "step", State({"value": value}), "completed")
    assert refused.value.path.startswith(path)
    assert refused.value.reason == "INVALID_REQUEST"
    assert len(str(refused.value)) < 1_000
    assert persister.load("p", app_id)["state"].get_all() == {"n": 0}


def test_a_value_that_contains_itself_is_refused(persister, app_id):
    ring: list[object] = []
    ring.append(ring)
    with pytest.raises(UnsavableValueError, match="contains itself"):
        put(persister, app_id, {"ring": ring})


def test_allowed_models_come_back_also_inside_of_lists_and_dicts(persister, app_id):
    state = {"points": [Point(x=1, tags=["a"])], "by": {"k": Point(x=2)}}
    put(persister, app_id, state)
    assert persister.load("p", app_id)["state"].get_all() == state


def test_a_model_may_be_allowed_by_its_name(client, app_id):
    persister = HoldfastPersister(client, namespace=NAMESPACE, allowed_classes=[f"{__name__}.Point"])
    put(persister, app_id, {"point": Point(x=1)})
    assert persister.load("p", app_id)["state"]["point"] == Point(x=1)


@pytest.mark.parametrize("allowed", ["module.Class", [1], [None]])
def test_allowed_classes_must_be_classes_or_names(client, allowed):
    with pytest.raises(TypeError, match="allowed_classes"):
        HoldfastPersister(client, namespace=NAMESPACE, allowed_classes=allowed)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Put a module on the path that records that it was imported."""
    (tmp_path / "burr_trap.py").write_text(
        "import pathlib, pydantic\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class Model(pydantic.BaseModel): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "ran"
    sys.modules.pop("burr_trap", None)


def hostile():
    yield {"__burr_serde__": "pydantic", "__pydantic_class": "burr_trap.Model"}
    yield {"__burr_serde__": "pydantic", "__pydantic_class": f"{__name__}.Stranger", "x": 1}
    yield {"__burr_serde__": "pydantic", "__pydantic_class": ["burr_trap", "Model"]}
    yield {"__burr_serde__": "pydantic"}
    yield {"__burr_serde__": "pickle", "value": "cos\nsystem\n(S'true'\ntR."}
    yield {"__burr_serde__": "pandas.DataFrame", "path": "/etc/passwd"}
    yield {"__burr_serde__": "lc_document", "lc": 1, "type": "secret", "id": ["PATH"]}
    yield {"__burr_serde__": ["pydantic"], "__pydantic_class": "burr_trap.Model"}
    yield {"__burr_serde__": "nobody"}


@pytest.mark.parametrize("form", list(hostile()), ids=lambda form: str(form["__burr_serde__"]))
@pytest.mark.parametrize("deep", [lambda form: form, lambda form: [{"a": [form]}], lambda form: {"x": 1, "doc": form}])
def test_no_state_imports_a_module_or_calls_a_function_that_the_data_names(
    persister, client, app_id, trap, monkeypatch, form, deep
):
    burr_pickle.register_type_to_pickle(types.SimpleNamespace)
    for kind in ("pandas.DataFrame", "lc_document"):
        plugin = lambda value, **_: ran.append("plugin")  # noqa: E731
        plugin.__module__ = f"burr.integrations.serde.{kind}"
        monkeypatch.setitem(serde.deserializer.func_map, kind, plugin)
    crafted(client, app_id, {"value": deep(form)})
    with pytest.raises(holdfast.FormatIncompatibleError) as refused:
        persister.load("p", app_id)
    assert "state['value']" in str(refused.value)
    assert not trap.exists()
    assert not ran
    assert "burr_trap" not in sys.modules


def test_a_serde_key_that_is_escaped_in_the_json_is_found_too(persister, client, app_id, trap):
    form = b'{"v": {"\\u005f_burr_serde__": "pydantic", "__pydantic_class": "burr_trap.Model"}}'
    crafted(client, app_id, form)
    with pytest.raises(holdfast.FormatIncompatibleError, match="is not allowed"):
        persister.load("p", app_id)
    assert not trap.exists()


def test_a_serde_that_the_application_registered_is_called_without_being_allowed(persister, app_id, monkeypatch):
    class Own:
        pass

    @serde.serialize.register(Own)
    def _(value, **_options):
        return {serde.KEY: "own", "value": 1}

    monkeypatch.setitem(serde.deserializer.func_map, "own", lambda value, **_options: "own again")
    put(persister, app_id, {"own": [Own()]})
    assert persister.load("p", app_id)["state"]["own"] == ["own again"]


def test_a_field_with_its_own_serde_is_only_converted_by_that(persister, app_id):
    register_field_serde(
        "own_field", lambda value, **_: {"__burr_serde__": "none", "v": value}, lambda value, **_: value["v"]
    )
    try:
        put(persister, app_id, {"own_field": 7})
        assert persister.load("p", app_id)["state"]["own_field"] == 7
    finally:
        FIELD_SERIALIZATION.pop("own_field")


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 5_000 + b"]" * 5_000])
def test_a_payload_that_is_not_a_state_is_a_typed_error(persister, client, app_id, data):
    crafted(client, app_id, data)
    with pytest.raises(holdfast.FormatIncompatibleError, match="cannot be read"):
        persister.load("p", app_id)


def test_missing_or_foreign_labels_are_a_typed_error(persister, client, app_id):
    crafted(client, app_id, {}, sequence_id="seven")
    with pytest.raises(holdfast.FormatIncompatibleError, match="cannot be read"):
        persister.load("p", app_id)


def test_workflows_of_other_programs_are_not_listed_as_applications(persister, client):
    put(persister, "app", {})
    for name in ("other", "other:a:b", "other:%zz", "other:a%2fb"):
        client.save(NAMESPACE, name, b"?", format=holdfast.Format("other", 1))
    persister.save("other", "app", 0, "step", State({}), "completed")
    assert persister.list_app_ids("other") == ["app"]
