"""The reader of pickled arrays: it agrees with pickle on arrays, and refuses everything else unexecuted."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headway.backbones.packaged import _pickled
from headway.errors import WeightsRefused

ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype("<f4"), np.dtype(">f4")]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
    elements=st.floats(-1e6, 1e6, width=32),
)
CONTENT = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8), st.lists(ARRAYS, min_size=2, max_size=3), max_size=3
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENT, fortran=st.booleans())
def test_arrays_come_back_as_pickle_would_give_them(tmp_path: Path, content, fortran: bool) -> None:
    if fortran:
        content = {name: [np.asfortranarray(a) for a in arrays] for name, arrays in content.items()}
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(content, protocol=3))
    found = _pickled.read(path)
    assert found.keys() == content.keys()
    for name, arrays in content.items():
        assert len(found[name]) == len(arrays)
        for ours, theirs in zip(found[name], arrays, strict=True):
            assert ours.dtype == np.float32
            assert np.array_equal(ours, theirs)


class _Payload:
    """Unpickling an instance creates a file."""

    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("where", ["alone", "name", "item", "beside"])
def test_a_malicious_pickle_is_refused_and_never_executed(tmp_path: Path, protocol: int, where: str) -> None:
    proof = tmp_path / "executed"
    payload = _Payload(os.mkdir, str(proof))
    array = np.zeros(3, np.float32)
    content = {
        "alone": payload,
        "name": {payload: [array]},
        "item": {"a": [payload]},
        "beside": {"a": [array, payload]},
    }
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(content[where], protocol=protocol))
    with pytest.raises(WeightsRefused, match="any program"):
        _pickled.read(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 (the payload works: a test that could not fail would prove nothing)
    assert proof.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"a": [np.zeros(2, np.float64)]},
        {"a": [np.array([{}], object)]},
        {"a": np.zeros(2, np.float32)},
        {"a": 3},
        [np.zeros(2, np.float32)],
        b"bytes",
        None,
    ],
    ids=["float64", "objects", "bare", "number", "list", "bytes", "none"],
)
def test_anything_but_lists_of_float32_arrays_is_refused(tmp_path: Path, content) -> None:
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(WeightsRefused):
        _pickled.read(path)


def test_a_persistent_id_is_refused(tmp_path: Path) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "storage" if isinstance(obj, complex) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol=3).dump({"a": [1j]})
    path = tmp_path / "arrays.pkl"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(WeightsRefused, match="BINPERSID"):
        _pickled.read(path)


def test_a_length_beyond_the_file_is_refused_without_that_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "arrays.pkl"
    for claimed in (b"B" + (2**32 - 1).to_bytes(4, "little"), b"\x8e" + (2**62).to_bytes(8, "little")):
        path.write_bytes(b"\x80\x03" + claimed + b"few bytes.")
        with pytest.raises(WeightsRefused):
            _pickled.read(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_refused_or_harmless_never_another_error(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"a": [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)]}, 3))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "arrays.pkl"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = _pickled.read(path)
    except WeightsRefused:
        return
    assert all(isinstance(array, np.ndarray) for arrays in found.values() for array in arrays)
