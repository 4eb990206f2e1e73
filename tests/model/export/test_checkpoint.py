"""Weights as somebody's training saved them."""

from __future__ import annotations

import functools
import io
import pickle
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.support import elsewhere
from tests.support.exports import SPEC, pictures, source, trained
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.errors import BundleError
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.probe import Probe
from vaeudf.model.pixels import PixelScaler


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
        lambda state: {k: v.half() for k, v in state.items()},
    ],
)
def test_weights_of_torch_save(tmp_path, wrap):
    theirs = trained("Pair")
    torch.save(wrap(theirs.state_dict()), tmp_path / "weights.pt")
    bundle = export_bundle(
        tmp_path / "b", source(weights=tmp_path / "weights.pt", variance="log_var")
    )
    state = bundle.encoder.network.model.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert state[name].dtype == torch.float32
        assert any(torch.equal(state[name], kept) for kept in (tensor, tensor.half().float()))


def states(kind="Pair", **changes):
    """Weights of a model, and others of the same model."""
    return trained(kind, seed=3).state_dict(), trained(kind, seed=4).state_dict()


def loaded(path, kind="Pair", **said):
    """A model with the weights of a file, and what is said of which these are."""
    probe = Probe(source(kind, weights=path, variance="log_var", **said))
    return probe.model.state_dict(), probe.taken


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def prefixed(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (
            lambda w, e: {"state_dict": {**prefixed("vae.", w), "loss.weight": torch.ones(3)}},
            "'state_dict' without loss",
        ),
        (lambda w, e: {**prefixed("gan.vae.", w), "gan.critic": torch.ones(3)}, "gan.vae"),
        (lambda w, e: {"epoch": 3, **w}, None),
        (
            lambda w, e: {"trainer": {"nets": {"generator": w}}, "epoch": 3},
            "trainer.nets.generator",
        ),
        (lambda w, e: {"n_averaged": torch.tensor(9), **prefixed("module.", w)}, None),
        (lambda w, e: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "m": w}, "m"),
        (lambda w, e: {"ema": e, "model": w}, "'model'; 'ema' fits, too: --weights-key ema takes"),
        (lambda w, e: {"state_dict": w, "state_dict_ema": e}, "too: --weights-key state_dict_ema"),
        (lambda w, e: {"net": w, "ema": {"decay": 0.99, "shadow": e}}, "--weights-key ema.shadow"),
        (
            lambda w, e: {**prefixed("ema_model.", e), **prefixed("online_model.", w)},
            "'online_model.'; the names after 'ema_model.' fits, too: --weights-prefix ema_model.",
        ),
        (lambda w, e: {"ema": w, "optimizer": {}}, "'ema'"),
        (lambda w, e: [w, {"step": 3}], "'0'"),
        (lambda w, e: {"nets": [{"lr": 1}, w]}, "'nets.1'"),
        (lambda w, e: {k.replace(".", "._orig_mod.", 1): v for k, v in w.items()}, None),
        (lambda w, e: {k.replace(".", ".module.", 1): v for k, v in w.items()}, None),
        (lambda w, e: prefixed("_fsdp_wrapped_module.", w), None),
        (
            lambda w, e: {
                k.replace(".", "._checkpoint_wrapped_module.", 1): v for k, v in w.items()
            },
            None,
        ),
        (
            lambda w, e: {
                **w,
                **prefixed("loss.perceptual_loss.", e),
                **{"model_ema.headweight": torch.ones(3), "model_ema.decay": torch.ones(())},
            },
            "all of the file without loss, model_ema",
        ),
    ],
)
def test_where_training_scripts_put_weights(tmp_path, saved, said):
    weights, averaged = states()
    torch.save(saved(weights, averaged), tmp_path / "w.ckpt")
    found, taken = loaded(tmp_path / "w.ckpt")
    assert_equal(found, weights)
    assert (said or "") in taken and bool(said) == bool(taken)


def test_averaged_weights_are_taken_if_asked_for(tmp_path):
    weights, averaged = states()
    torch.save({"model": weights, "ema": {"shadow": averaged}}, tmp_path / "a.pt")
    torch.save({**prefixed("ema_model.", averaged), **prefixed("m.", weights)}, tmp_path / "b.pt")
    for key in ("ema", "ema.shadow"):
        assert_equal(loaded(tmp_path / "a.pt", weights_key=key)[0], averaged)
    assert_equal(loaded(tmp_path / "b.pt", weights_prefix="ema_model.")[0], averaged)
    with pytest.raises(BundleError, match=r"has no weights at 'none'; it has 'ema\.shadow', 'mod"):
        loaded(tmp_path / "a.pt", weights_key="none")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda w: w.to("meta"), "without numbers"),
        (lambda w: w.to_sparse(), r"sparse \(torch.sparse_coo\)"),
        (lambda w: w.to(torch.complex64), "torch.complex64"),
        (lambda w: w.to(torch.int8), "torch.int8"),
    ],
)
def test_numbers_of_another_kind(tmp_path, change, found):
    state = trained("Pair").state_dict()
    torch.save({**state, "head.weight": change(state["head.weight"])}, tmp_path / "w.pt")
    expected = rf"w\.pt: head\.weight is {found}.*; expected plain floating-point numbers\."
    with pytest.raises(BundleError, match=expected):
        loaded(tmp_path / "w.pt")


def test_floats_of_one_byte(tmp_path):
    state = {k: v.to(torch.float8_e4m3fn) for k, v in trained("Pair").state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    assert_equal(loaded(tmp_path / "w.pt")[0], {k: v.float() for k, v in state.items()})


def test_which_weights_were_taken_is_kept(tmp_path):
    weights, averaged = states()
    torch.save({"model": weights, "ema": averaged}, tmp_path / "w.pt")
    given = source(weights=tmp_path / "w.pt", variance="log_var")
    facts = export_bundle(tmp_path / "b", given).manifest.training["exported"]
    assert facts["weights"] == "'model'; 'ema' fits, too: --weights-key ema takes that"


def test_counts_of_batches_may_be_missing(tmp_path):
    state, _ = states("Normed")
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "w.pt")
    assert_equal(loaded(tmp_path / "w.pt", "Normed")[0], state)
    torch.save({k: v for k, v in state.items() if "running_mean" not in k}, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=r"1 missing, such as features\.1\.running_mean"):
        loaded(tmp_path / "w.pt", "Normed")


@pytest.mark.parametrize(
    "keys",
    [("encoder", "decoder"), ("encoder_state_dict", "decoder_state_dict"), ("enc", "dec")],
)
@pytest.mark.parametrize("below", [False, True])
def test_two_state_dicts_for_a_pair(tmp_path, keys, below):
    pair = elsewhere.two()
    saved = {key: part.state_dict() for key, part in zip(keys, pair, strict=True)}
    torch.save({"models": saved, "epoch": 1} if below else saved, tmp_path / "w.pt")
    given = {"factory": "tests.support.elsewhere:two", "arguments": {}, "activation": "sigmoid"}
    found, _ = loaded(tmp_path / "w.pt", **given)
    expected = {f"encoder.{k}": v for k, v in pair[0].state_dict().items()}
    assert_equal(found, expected | {f"decoder.{k}": v for k, v in pair[1].state_dict().items()})


@pytest.mark.slow
def test_weights_of_one_part_alone(tmp_path):
    """What the message says to do puts the files of a pair together."""
    encoder, decoder = elsewhere.two()
    given = {"factory": "tests.support.elsewhere:two", "arguments": {}, "activation": "sigmoid"}
    torch.save({"state_dict": encoder.state_dict()}, tmp_path / "first.pt")
    torch.save(decoder.state_dict(), tmp_path / "decoder.pt")
    message = "has the weights of 'encoder' alone; those of 'decoder' are missing. Put all into one"
    with pytest.raises(BundleError, match=message) as error:
        loaded(tmp_path / "first.pt", **given)
    command = re.search(r"python (-c .*)$", str(error.value))
    subprocess.run([sys.executable, *shlex.split(command[1])], cwd=tmp_path, check=True)
    found, _ = loaded(tmp_path / "weights.pt", **given)
    assert torch.equal(found["encoder.head.bias"], encoder.state_dict()["head.bias"])
    assert torch.equal(found["decoder.layer.bias"], decoder.state_dict()["layer.bias"])


@pytest.mark.parametrize("with_weights", [True, False])
def test_lazy_modules(tmp_path, with_weights):
    theirs = elsewhere.make("Lazy")
    theirs.encode(torch.rand(8, 3, 16, 16))
    torch.save(theirs.eval().state_dict(), tmp_path / "w.pt")
    given = {"weights": tmp_path / "w.pt"} if with_weights else {}
    export_bundle(tmp_path / "b", source("Lazy", variance="log_var", **given), pictures())
    bundle = load_bundle(tmp_path / "b", trust_model=True)
    if with_weights:
        with torch.no_grad():
            expected, _ = theirs.encode(PixelScaler(SPEC).scale_array(pictures()))
        mu, _ = bundle.encoder.encode(pictures())
        assert_same_float32(mu, expected, terms=terms_of(theirs))
    wrong = {**theirs.state_dict(), "spread.bias": torch.ones(5)}
    torch.save(wrong, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=r"spread\.bias is \(5,\); the model expects \(3,\)"):
        loaded(tmp_path / "w.pt", "Lazy")


class Options(Namespace):
    """Hyper-parameters that are objects."""


class Attributes(dict):
    """A dictionary of a class of its own, as many libraries have."""


FORMATS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("whole", [False, True])
def test_files_with_objects_in_them(tmp_path, form, whole):
    """Options, metrics, enums, paths; and the whole module, in the place of its weights."""
    model = trained("Normed")
    saved = {
        "state_dict": model if whole else Attributes(model.state_dict()),
        "hyper_parameters": Options(lr=1e-3, nested=Attributes(a=[Path("/x")])),
        "loss": np.float64(0.5),
        "history": defaultdict(list, {"kl": [np.float32(1)]}),
        "callbacks": {"checkpoint": {"best": Path("/y"), "seen": {1, 2}}},
        "activation": functools.partial(torch.relu),
        "pytorch-lightning_version": "2.0",
    }
    torch.save(saved, tmp_path / "w.ckpt", **form)
    assert_equal(loaded(tmp_path / "w.ckpt", "Normed")[0], model.state_dict())
    torch.save(model if whole else model.state_dict(), tmp_path / "w.pt", **form)
    assert_equal(loaded(tmp_path / "w.pt", "Normed")[0], model.state_dict())


def test_pickles_without_torch(tmp_path):
    state = trained("Pair").state_dict()
    for saved in (state, {"model": trained("Pair"), "options": Options(a=1)}):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(saved))
        assert_equal(loaded(tmp_path / "w.pkl")[0], state)


ARRAYS = {
    "as they are": lambda array: array,
    "columns first": lambda array: array.copy("F"),
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "double": lambda array: array.astype(array.dtype.str.replace("f4", "f8")),
    "transposed twice": lambda array: array.T.copy().T,
}


@pytest.mark.parametrize("change", ARRAYS.values(), ids=ARRAYS)
def test_arrays_in_place_of_tensors(tmp_path, change):
    """Also those without an axis, and beside other arrays than numbers."""
    state = trained("Normed").state_dict()
    arrays = {name: change(tensor.numpy()) for name, tensor in state.items()}
    assert any(array.shape == () for array in arrays.values())
    beside = {"names": np.array(["a", "b"]), "objects": np.array([{}, None]), "loss": np.ones(9)}
    for form in FORMATS.values():
        torch.save({"model": arrays, **beside}, tmp_path / "w.pt", **form)
        assert_equal(loaded(tmp_path / "w.pt", "Normed")[0], state)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays, protocol))
        assert_equal(loaded(tmp_path / "w.pkl", "Normed")[0], state)
        old = pickle.dumps(arrays, protocol).replace(b"numpy._core.multi", b"numpy.core.multi")
        if protocol < 4:  # where names have no lengths before them
            (tmp_path / "w.pkl").write_bytes(old)
            assert_equal(loaded(tmp_path / "w.pkl", "Normed")[0], state)


@pytest.mark.parametrize("axes", [(0, 1, 3, 2), (2, 0, 3, 1), (1, 2, 3, 0), (0, 3, 1, 2)])
def test_arrays_whose_axes_are_in_another_order_in_memory(tmp_path, axes):
    state = trained("Normed").state_dict()
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    arrays["features.0.weight"] = np.ascontiguousarray(
        arrays["features.0.weight"].transpose(axes)
    ).transpose(np.argsort(axes))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays, protocol))
        assert_equal(loaded(tmp_path / "w.pkl", "Normed")[0], state)
        torch.save({"model": arrays}, tmp_path / "w.pt", pickle_protocol=protocol)
        assert_equal(loaded(tmp_path / "w.pt", "Normed")[0], state)


class FromBuffer:
    """An array that a pickle makes with NumPy's own function, of bytes and what is said of them."""

    def __init__(self, array, *order):
        self._parts = array.tobytes(), array.dtype, array.shape, *order

    def __reduce__(self):
        return np.ones(1).__reduce_ex__(5)[0], self._parts


def test_orders_of_axes_that_are_none(tmp_path):
    """A read in any other order would give wrong weights, without a message."""
    state = trained("Pair").state_dict()
    name = "head.weight"
    arrays = {key: tensor.numpy() for key, tensor in state.items()}

    def save(*order):
        parts = {**arrays, name: FromBuffer(arrays[name], *order)}
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(parts, 5))

    for order in (("C",), ("C", None), ("K", (0, 1))):
        save(*order)
        assert_equal(loaded(tmp_path / "w.pkl")[0], state)
    others = [("A",), ("K",), ("K", None), ("k", (0, 1)), (None,), (1,)]
    axes = [(0,), (0, 0), (0, 2), (1, -1), (0, 1, 2), (True, 0), (0.0, 1), [0, 1], "01", 3]
    for order in [*others, *(("K", one) for one in axes)]:
        save(*order)
        with pytest.raises(BundleError, match=rf"1 missing, such as {re.escape(name)}\."):
            loaded(tmp_path / "w.pkl")


def test_arrays_allowed_in_torchs_own_loader(tmp_path):
    state = trained("Pair").state_dict()
    torch.save({name: tensor.numpy() for name, tensor in state.items()}, tmp_path / "w.pt")
    kinds = [np._core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype("f4"))]
    with torch.serialization.safe_globals(kinds):
        assert_equal(loaded(tmp_path / "w.pt")[0], state)


def test_arrays_that_are_no_weights(tmp_path):
    state = {name: tensor.numpy() for name, tensor in trained("Pair").state_dict().items()}

    def refused(array):
        torch.save({**state, "head.bias": array}, tmp_path / "w.pt")
        with pytest.raises(BundleError) as error:
            loaded(tmp_path / "w.pt")
        return str(error.value)

    assert "1 missing, such as head.bias." in refused(np.array(["a", "b", "c"]))
    assert "1 missing, such as head.bias." in refused(np.array([Runs(tmp_path / "ran")] * 3))
    assert "1 missing, such as head.bias." in refused(np.zeros(3, [("a", "f4")]))
    assert "head.bias is (4,); the model expects (3,)" in refused(np.zeros(4, np.float32))
    assert "head.bias is torch.int64; expected plain floating" in refused(np.zeros(3, np.int64))
    short = pickle.dumps({"head.bias": np.float32([1, 2, 3])}, 3)
    (tmp_path / "w.pkl").write_bytes(short.replace(b"K\x03\x85", b"K\x04\x85"))
    assert short.count(b"K\x03\x85") == 1
    with pytest.raises(BundleError, match=r"w\.pkl holds a dict of 'head\.bias'; expected a state"):
        loaded(tmp_path / "w.pkl")
    assert not (tmp_path / "ran").exists()


def test_safetensors_under_another_name(tmp_path):
    state = trained("Pair").state_dict()
    safetensors.torch.save_file(state, tmp_path / "w.bin")
    assert_equal(loaded(tmp_path / "w.bin")[0], state)
    torch.save(state, tmp_path / "w.safetensors")
    assert_equal(loaded(tmp_path / "w.safetensors")[0], state)


def test_weights_that_do_not_fit(tmp_path):
    def refused(state, name="w.pt", **said):
        torch.save(state, tmp_path / name)
        with pytest.raises(BundleError) as error:
            Probe(source(weights=tmp_path / name, variance="log_var", **said))
        return str(error.value)

    state = trained("Pair").state_dict()
    less = {k: v for k, v in state.items() if k != "dec.bias"}
    assert "1 missing, such as dec.bias." in refused(less)
    assert "1 surplus, such as extra." in refused({**state, "extra": torch.ones(1)})
    assert "head.bias is (5,); the model expects (3,)" in refused(
        {**state, "head.bias": torch.ones(5)}
    )
    assert "head.bias has NaN or infinite" in refused(
        {**state, "head.bias": torch.full((3,), np.nan)}
    )
    assert "holds a list of 1: a tensor of shape (1,); expected a state_dict" in refused(
        [torch.ones(1)]
    )
    with pytest.raises(BundleError, match=r"none\.pt does not exist; expected a file of weights"):
        Probe(source(weights=tmp_path / "none.pt"))
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"no\.safetensors is not a safetensors file"):
        Probe(source(weights=tmp_path / "no.safetensors"))


class Runs:
    """A pickle that runs code when it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path, form):
    state = trained("Pair").state_dict()
    hostile = {"state_dict": state, "extra": Runs(tmp_path / "ran")}
    torch.save(hostile, tmp_path / "w.pt", **form)
    assert_equal(loaded(tmp_path / "w.pt")[0], state)
    torch.save({"state_dict": Runs(tmp_path / "ran")}, tmp_path / "w.pt", **form)
    with pytest.raises(BundleError, match=r"w\.pt holds a dict of 'state_dict'; expected a st"):
        loaded(tmp_path / "w.pt")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(hostile))
    assert_equal(loaded(tmp_path / "w.pkl")[0], state)
    assert not (tmp_path / "ran").exists()


def test_pickles_inside_of_tensors_are_not_run(tmp_path):
    """What a tensor without torch.save is made of, torch would unpickle without any care."""
    inner = io.BytesIO()
    torch.save(Runs(tmp_path / "ran"), inner)

    class Hidden:
        def __reduce__(self):
            return (torch.storage._load_from_bytes, (inner.getvalue(),))

    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"weight": Hidden()}))
    with pytest.raises(BundleError, match=r"w\.pkl is not a checkpoint that can be read"):
        loaded(tmp_path / "w.pkl")
    assert not (tmp_path / "ran").exists()
