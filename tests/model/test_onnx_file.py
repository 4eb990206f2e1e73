"""Numbers of ONNX files that are in other files; the package onnx is the oracle."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from tests.support.exports import trained
from tests.support.onnx_models import described, encoder_of, model_of, numbers, saved
from vaeudf.errors import BundleError
from vaeudf.model.onnx_file import check_whole, read_whole

WHOLE = encoder_of(trained("Encoder")).SerializeToString()


def arrays(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_a_whole_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "m.onnx").write_bytes(WHOLE)
    assert read_whole(tmp_path / "m.onnx") == WHOLE
    check_whole(WHOLE, "m.onnx")


@pytest.mark.parametrize("single", [True, False])
def test_numbers_beside_it_are_put_in(tmp_path, single):
    (tmp_path / "m").mkdir()
    model = onnx.load_from_string(WHOLE)
    how = {"location": "numbers.bin"} if single else {"all_tensors_to_one_file": False}
    path = saved(model, tmp_path / "m" / "m.onnx", **how)
    with pytest.raises(BundleError, match=r"keeps numbers in another file, '.*'; a bundle's own f"):
        check_whole(path.read_bytes(), "m.onnx")
    content = read_whole(path)
    check_whole(content, "m.onnx")
    found, expected = arrays(onnx.load_from_string(content)), arrays(onnx.load_from_string(WHOLE))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    onnx.checker.check_model(content)


def outside(name, place):
    """A tensor whose numbers are in another file."""
    tensor = numbers(name, np.arange(4, dtype=np.float32))
    set_external_data(tensor, **place)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def nested(place):
    """Numbers in a constant, in a branch of an If, in a function, and in a sparse tensor."""
    constant = helper.make_node("Constant", [], ["y"], value=outside("c", place))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["i"], ["y"])], "b", [], [described("y", [4])]
    )
    branch.initializer.append(outside("i", place))
    condition = numbers("yes", np.array(True))
    choose = helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)
    function = helper.make_function(
        "own", "F", [], ["y"], [constant], [helper.make_opsetid("", 17)]
    )
    model = model_of([constant, choose], [], [described("z", [4])], [condition])
    model.functions.append(function)
    sparse = onnx.SparseTensorProto(values=outside("s", place), dims=[9])
    sparse.indices.CopyFrom(numbers("k", np.arange(4)))
    model.graph.sparse_initializer.append(sparse)
    return model


def test_numbers_are_found_wherever_tensors_are(tmp_path):
    values = np.array([9, 1, 2, 3, 4], np.float32)
    (tmp_path / "n.bin").write_bytes(values.tobytes())
    model = nested({"location": "n.bin", "offset": 4, "length": 16})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = onnx.load_from_string(read_whole(tmp_path / "m.onnx"))
    constant, choose = found.graph.node
    tensors = [
        constant.attribute[0].t,
        *(branch.g.initializer[0] for branch in choose.attribute),
        found.functions[0].node[0].attribute[0].t,
        found.graph.sparse_initializer[0].values,
    ]
    assert len(tensors) == 5
    for tensor in tensors:
        assert tensor.data_location == TensorProto.DEFAULT and not tensor.external_data
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), values[1:])
    # What is in other files is seen in each of these places.
    for part in ("graph", "functions", "sparse"):
        alone = nested({"location": "n.bin", "offset": 4, "length": 16})
        if part != "functions":
            del alone.functions[:]
        if part != "sparse":
            del alone.graph.sparse_initializer[:]
        if part != "graph":
            del alone.graph.node[:]
        with pytest.raises(BundleError, match=r"in another file, 'n\.bin'"):
            check_whole(alone.SerializeToString(), "m.onnx")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"location": "../secret"}, r"in '\.\./secret', which is not beside it; expected a file"),
        ({"location": "/etc/hostname"}, "in '/etc/hostname', which is not beside it"),
        ({"location": "link"}, "in 'link', which is not beside it"),
        ({"location": ""}, "in '', which is not beside it"),
        ({"location": "none"}, r"in none, which cannot be read \(No such file"),
        ({"location": "short", "offset": 4, "length": 16}, r"up to byte 20; that file has 9\."),
    ],
)
def test_numbers_that_are_elsewhere_or_missing(tmp_path, place, message):
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    os.symlink(tmp_path / "secret", folder / "link")
    (folder / "short").write_bytes(bytes(9))
    model = model_of([], [], [], [outside("t", place)])
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=message):
        read_whole(folder / "m.onnx")


@pytest.mark.parametrize(
    "location",
    [
        b"\x70\x81\x80\x80\x80\x10",  # 2^32 + 1, of which 32 bits are read
        b"\x70\x01\x72\x01\x00",  # and then the same field with bytes, which is another one
        b"\x70\x01\x70\x02",  # and then a place that there is not
        b"\xf0\x80\x80\x80\x10\x01",  # the field's own number with bits beyond 32
    ],
)
def test_places_that_are_written_in_odd_ways(location):
    tensor = outside("t", {"location": "n.bin"})
    tensor.ClearField("data_location")
    content = tensor.SerializeToString() + location
    model = model_of([], [], [], []).SerializeToString()
    graph = b"\x2a" + bytes([len(content)]) + content
    odd = model + b"\x3a" + bytes([len(graph)]) + graph  # a second part of the graph
    with suppress(DecodeError):  # what one reader refuses, onnxruntime's may take
        (read,) = onnx.load_from_string(odd).graph.initializer
        assert read.data_location == TensorProto.EXTERNAL
    with pytest.raises(BundleError, match=r"in another file, 'n\.bin'"):
        check_whole(odd, "m.onnx")


@given(st.integers(0, len(WHOLE)), st.integers(0, 255), st.booleans())
def test_damaged_files_raise_nothing_else(place, byte, cut):
    damaged = WHOLE[:place] if cut else WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    try:
        check_whole(damaged, "m.onnx")
    except BundleError as error:
        assert str(error).startswith("m.onnx ")


def test_depth_beyond_all_reason():
    def field(number, content):
        return bytes([number << 3 | 2, len(content) & 0x7F | 0x80, len(content) >> 7]) + content

    graph = b""
    for _ in range(200):  # a graph in an attribute of a node of a graph
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(BundleError, match=r"m\.onnx is not an ONNX file, or is damaged"):
        check_whole(b"\x08\x08" + field(7, graph), "m.onnx")


def test_not_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BundleError, match="does not exist; expected a model of ONNX"):
            read_whole(Path(path))


def test_files_of_more_bytes_than_the_format_has(tmp_path, monkeypatch):
    most = len(WHOLE) - 1
    monkeypatch.setattr("vaeudf.model.onnx_file.MOST_BYTES", most)
    (tmp_path / "m.onnx").write_bytes(WHOLE)
    expected = f"m.onnx has {len(WHOLE):,} bytes; an ONNX file has at most {most:,}."
    with pytest.raises(BundleError, match=rf"{re.escape(expected)}$"):
        read_whole(tmp_path / "m.onnx")
    # The file itself is small, and large with what it names.
    (tmp_path / "n").mkdir()
    model = onnx.load_from_string(WHOLE)
    path = saved(model, tmp_path / "n" / "n.onnx", location="numbers.bin")
    assert path.stat().st_size < most
    monkeypatch.setattr("vaeudf.model.onnx_file.MOST_BYTES", path.stat().st_size)
    with pytest.raises(BundleError, match=r"n\.onnx has [\d,]+ bytes with the files that it names"):
        read_whole(path)
