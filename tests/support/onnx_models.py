"""Models of ONNX, made operator by operator, with the weights of those in elsewhere.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tests.support.elsewhere import LATENT_DIM, SIDE

OPSET, IR_VERSION = 17, 8


def numbers(name: str, value: Any) -> TensorProto:
    array = value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)
    return numpy_helper.from_array(array, name)


def model_of(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], tensors: list[TensorProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    imports = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def described(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def encoder_of(
    theirs: nn.Module,
    *,
    batch: int | str = "n",
    layout: str = "chw",
    names: tuple[str, ...] = ("mu", "log_var"),
    kind: int = TensorProto.FLOAT,
    sides: bool = True,
) -> onnx.ModelProto:
    """What Body.outputs computes, beside a sample if there are three names.

    Args:
        theirs: A model of elsewhere.py.
        batch: How many pictures it takes at a time, or a name for any number.
        layout: Of the pictures: chw, hwc or flat.
        names: Of the outputs; one of both together if there is one name.
        kind: Of the numbers that it takes.
        sides: Whether the shape of the pictures is stated.
    """
    shape: list[Any] = {
        "chw": [batch, 3, SIDE, SIDE],
        "hwc": [batch, SIDE, SIDE, 3],
        "flat": [batch, 3 * SIDE * SIDE],
    }[layout]
    if not sides:
        shape = [batch, *(f"side_{i}" for i in range(1, len(shape)))]
    tensors = [
        numbers("w", theirs.features[0].weight),
        numbers("b", theirs.features[0].bias),
        *(numbers(f"{n}_w", getattr(theirs, n).weight) for n in ("head", "spread")),
        *(numbers(f"{n}_b", getattr(theirs, n).bias) for n in ("head", "spread")),
        numbers("three", np.float32(3)),
        numbers("one", np.float32(1)),
        numbers("half", np.float32(0.5)),
        numbers("axes", np.array([-1, 3, SIDE, SIDE])),
    ]
    nodes = [helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT)]
    if layout == "hwc":
        nodes.append(helper.make_node("Transpose", ["floats"], ["chw"], perm=[0, 3, 1, 2]))
    else:
        nodes.append(helper.make_node("Reshape", ["floats", "axes"], ["chw"]))
    nodes += [
        helper.make_node("Conv", ["chw", "w", "b"], ["h"], strides=[4, 4]),
        helper.make_node("Sigmoid", ["h"], ["gate"]),
        helper.make_node("Mul", ["h", "gate"], ["silu"]),
        helper.make_node("Flatten", ["silu"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head_w", "head_b"], ["third"], transB=1),
        helper.make_node("Gemm", ["flat", "spread_w", "spread_b"], ["more"], transB=1),
    ]
    mu, spread = names[:2] if len(names) > 1 else ("mu", "log_var")
    nodes += [
        helper.make_node("Mul", ["third", "three"], [mu]),
        helper.make_node("Sub", ["more", "one"], [spread]),
    ]
    if len(names) == 1:
        nodes.append(helper.make_node("Concat", [mu, spread], [names[0]], axis=1))
    if len(names) == 3:
        nodes += [
            helper.make_node("RandomNormalLike", [mu], ["eps"]),
            helper.make_node("Mul", [spread, "half"], ["log_sigma"]),
            helper.make_node("Exp", ["log_sigma"], ["s"]),
            helper.make_node("Mul", ["s", "eps"], ["moved"]),
            helper.make_node("Add", [mu, "moved"], [names[2]]),
        ]
    width = LATENT_DIM * (2 if len(names) == 1 else 1)
    outputs = [described(name, [batch, width]) for name in names]
    return model_of(nodes, [described("x", shape, kind)], outputs, tensors)


def decoder_of(theirs: nn.Module, *, layout: str = "chw", batch: int | str = "n") -> Any:
    """What Body.decode computes."""
    tensors = [numbers("w", theirs.dec.weight), numbers("b", theirs.dec.bias)]
    nodes = [
        helper.make_node("Gemm", ["z", "w", "b"], ["h"], transB=1),
        helper.make_node("Sigmoid", ["h"], ["flat"]),
    ]
    shape: list[Any] = [batch, 3 * SIDE * SIDE]
    last = "flat"
    if layout != "flat":
        tensors.append(numbers("axes", np.array([-1, 3, SIDE, SIDE])))
        nodes.append(helper.make_node("Reshape", ["flat", "axes"], ["chw"]))
        shape, last = [batch, 3, SIDE, SIDE], "chw"
    if layout == "hwc":
        nodes.append(helper.make_node("Transpose", ["chw"], ["hwc"], perm=[0, 2, 3, 1]))
        shape, last = [batch, SIDE, SIDE, 3], "hwc"
    inputs = [described("z", [batch, LATENT_DIM])]
    return model_of(nodes, inputs, [described(last, shape)], tensors)


def saved(model: onnx.ModelProto, path: Path, **how: Any) -> Path:
    """Write a model; ``location`` puts its numbers into a file of this name."""
    if how:
        how = {"save_as_external_data": True, "size_threshold": 0, **how}
    onnx.save(model, path, **how)
    return path
