"""Models of ONNX through export and back: the model that they were made of is the oracle."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from tests.support.bundles import edit_manifest, refusal
from tests.support.exports import SPEC, pictures, trained
from tests.support.onnx_models import (
    decoder_of,
    described,
    encoder_of,
    model_of,
    numbers,
    saved,
)
from tests.support.tolerances import FUNCTION, assert_same_float32, terms_of
from vaeudf.errors import BundleError, DeviceError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, load_decoder, load_encoder
from vaeudf.model.devices import Hardware, load_batch_decoder, load_batch_encoder, use_threads
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.origin import OnnxFiles
from vaeudf.model.export.probe import Probe
from vaeudf.model.manifest import DECODER_ONNX, ENCODER_ONNX, MANIFEST
from vaeudf.model.pixels import PixelScaler


@pytest.fixture
def theirs():
    return trained("Encoder")


def given(encoder, decoder=None, **said):
    said = {"image": SPEC, "variance": "log_var", **said}
    return ForeignModel(OnnxFiles(encoder, decoder), **said)


def own_output(theirs):
    with torch.no_grad():
        return theirs(PixelScaler(SPEC).scale_array(pictures()))


def assert_encodes(encoder, theirs, *, scale_of_log_var=1.0):
    terms = terms_of(theirs) + 2 * FUNCTION
    mu, log_var = encoder.encode(pictures())
    expected, stated = own_output(theirs)
    assert_same_float32(mu, expected, terms=terms)
    assert_same_float32(log_var, scale_of_log_var * stated, terms=terms)


@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("layout", ["chw", "hwc", "flat"])
def test_equals_the_model_that_it_was_made_of(tmp_path, theirs, batch, layout):
    """Pictures 6, so that the last batch of 4 is not full."""
    encoder = saved(encoder_of(theirs, batch=batch, layout=layout), tmp_path / "e.onnx")
    decoder = saved(decoder_of(theirs, batch=batch, layout=layout), tmp_path / "d.onnx")
    export_bundle(tmp_path / "b", given(encoder, decoder), pictures())
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == [MANIFEST, DECODER_ONNX, ENCODER_ONNX]
    bundle = load_bundle(tmp_path / "b")  # without trust
    assert bundle.manifest.interface.pixel_layout == layout
    assert np.shape(bundle.manifest.z_range) == (2, 3)
    assert_encodes(bundle.encoder, theirs)
    assert_encodes(load_encoder(bundle.encoder_files), theirs)
    expected, _ = own_output(theirs)
    with torch.no_grad():
        drawn = theirs.decode(expected)
    assert_same_float32(bundle.decoder(expected), drawn, terms=terms_of(theirs) + FUNCTION)
    again = load_decoder(bundle.decoder_files).decode(expected.numpy())
    np.testing.assert_array_equal(again, bundle.decode(expected.numpy()))


@pytest.mark.parametrize(("layout", "other"), [("chw", "hwc"), ("hwc", "chw"), ("chw", "flat")])
def test_a_decoder_of_another_layout(tmp_path, theirs, layout, other):
    encoder = saved(encoder_of(theirs, layout=layout), tmp_path / "e.onnx")
    decoder = saved(decoder_of(theirs, layout=other), tmp_path / "d.onnx")
    bundle = export_bundle(tmp_path / "b", given(encoder, decoder))
    expected, _ = own_output(theirs)
    with torch.no_grad():
        drawn = theirs.decode(expected)
    assert_same_float32(bundle.decoder(expected), drawn, terms=terms_of(theirs) + FUNCTION)


@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_axes_that_a_file_does_not_state(tmp_path, theirs, layout):
    model = encoder_of(theirs, layout=layout, sides=False)
    said = {"pixel_layout": "hwc"} if layout == "hwc" else {}
    bundle = export_bundle(tmp_path / "b", given(saved(model, tmp_path / "e.onnx"), **said))
    assert_encodes(bundle.encoder, theirs)
    assert not bundle.has_decoder


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats(tmp_path, theirs, kind):
    path = saved(encoder_of(theirs, kind=kind), tmp_path / "e.onnx")
    bundle = export_bundle(tmp_path / "b", given(path))
    if kind == TensorProto.DOUBLE:
        assert_encodes(bundle.encoder, theirs)
    else:
        assert np.isfinite(bundle.encoder.encode(pictures())[0]).all()


@pytest.mark.parametrize(
    ("names", "said", "places"),
    [
        (("z_mean", "z_log_var", "z"), {}, ("z_mean", "z_log_var")),
        (("115", "116"), {}, ("115", "116")),
        (("StatefulPartitionedCall:0", "StatefulPartitionedCall:1"), {}, None),
        (("/fc.mu/Gemm", "/fc.var/Gemm"), {}, None),
        (
            ("a.b", "a.c", "a"),
            {"mu_output": "a.b", "variance_output": "a.c"},
            ("a.b", "a.c"),
        ),
        (("o1", "o2", "o3"), {"mu_output": "0", "variance_output": "1"}, ("0", "1")),
        (("both",), {"mu_output": "first-half", "variance_output": "second-half"}, None),
    ],
)
def test_outputs_by_their_names_or_their_order(tmp_path, theirs, names, said, places):
    path = saved(encoder_of(theirs, names=names), tmp_path / "e.onnx")
    bundle = export_bundle(tmp_path / "b", given(path, **said))
    interface = bundle.manifest.interface
    if places is not None or len(names) == 2:
        assert (interface.mu, interface.spread) == (places or names)
    assert_encodes(load_bundle(tmp_path / "b").encoder, theirs)


def test_the_variance_is_asked_for_as_of_any_model(tmp_path, theirs):
    path = saved(encoder_of(theirs), tmp_path / "e.onnx")
    with pytest.raises(BundleError, match=r"in 'log_var', whose name suggests log_var; what is i"):
        export_bundle(tmp_path / "b", given(path, variance=None))
    bundle = export_bundle(tmp_path / "b", given(path, variance="log_sigma"))
    assert_encodes(bundle.encoder, theirs, scale_of_log_var=2.0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("o1", "o2", "o3"), r"gives 'o1', a tensor of .*: which are .* --mu-output o1 --varia"),
        (("both",), r"gives a tensor of shape \(4, 6\): where are mu .*first-half"),
    ],
)
def test_outputs_that_are_not_known(tmp_path, theirs, names, message):
    path = saved(encoder_of(theirs, names=names), tmp_path / "e.onnx")
    with pytest.raises(BundleError, match=message):
        Probe(given(path))
    if len(names) == 3:
        with pytest.raises(BundleError, match="gives another posterior for the same picture"):
            Probe(given(path, mu_output="o3", variance_output="o2"))


def threads_of_process():
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_more_threads_than_torch_may_use(tmp_path, theirs):
    bundle = export_bundle(tmp_path / "b", given(saved(encoder_of(theirs), tmp_path / "e.onnx")))
    before = torch.get_num_threads()
    try:
        use_threads(1)
        encoder = load_encoder(bundle.encoder_files)
        encoder.encode(pictures())
        alone = threads_of_process()
        encoder.encode(pictures())
        another = load_encoder(bundle.encoder_files)
        another.encode(pictures())
        assert threads_of_process() == alone  # one thread is the caller's own
        use_threads(4)
        encoder.encode(pictures())
        assert threads_of_process() >= alone + 3
        use_threads(1)
        encoder.encode(pictures())
        assert_encodes(encoder, theirs)
    finally:
        use_threads(before)


def test_numbers_in_a_file_beside_the_model(tmp_path, theirs):
    """As PyTorch writes them, and large models need."""
    path = saved(encoder_of(theirs), tmp_path / "e.onnx", location="e.onnx.data")
    assert (tmp_path / "e.onnx.data").stat().st_size > 0
    export_bundle(tmp_path / "b", given(path))
    (tmp_path / "e.onnx.data").unlink()
    assert_encodes(load_bundle(tmp_path / "b").encoder, theirs)
    with pytest.raises(BundleError, match=r"in e\.onnx\.data, which cannot be read \(No such f"):
        Probe(given(path))


def test_a_bundle_reads_no_file_but_its_own(tmp_path, theirs, monkeypatch):
    """A hostile bundle may name any file; it would be read from where the job runs."""
    path = saved(encoder_of(theirs), tmp_path / "e.onnx", location="e.onnx.data")
    export_bundle(tmp_path / "b", given(path))
    monkeypatch.chdir(tmp_path)
    content = path.read_bytes()
    (tmp_path / "b" / ENCODER_ONNX).write_bytes(content)
    edit_manifest(tmp_path / "b", files={ENCODER_ONNX: hashlib.sha256(content).hexdigest()})
    assert "encoder.onnx keeps numbers in another file, 'e.onnx.data'" in refusal(tmp_path / "b")


def test_a_file_that_was_changed(tmp_path, theirs):
    export_bundle(tmp_path / "b", given(saved(encoder_of(theirs), tmp_path / "e.onnx")))
    other = encoder_of(trained("Encoder", seed=9)).SerializeToString()
    (tmp_path / "b" / ENCODER_ONNX).write_bytes(other)
    assert "the file is damaged or from another model" in refusal(tmp_path / "b")


def test_other_posteriors_than_at_the_export(tmp_path, theirs):
    export_bundle(tmp_path / "b", given(saved(encoder_of(theirs), tmp_path / "e.onnx")))
    vector = json.loads((tmp_path / "b" / MANIFEST).read_text())["test_vector"]
    vector[0][0] += 0.1
    edit_manifest(tmp_path / "b", test_vector=vector)
    assert "encoder.onnx gives other posteriors here than it did when" in refusal(tmp_path / "b")


def test_a_manifest_that_contradicts_itself(tmp_path, theirs):
    folder = tmp_path / "b"
    bundle = export_bundle(folder, given(saved(encoder_of(theirs), tmp_path / "e.onnx")))
    interface = bundle.manifest.interface.to_dict()
    edit_manifest(folder, interface=None)
    assert "architecture is 'onnx' and interface is null; expected an interface" in refusal(folder)
    edit_manifest(folder, interface={**interface, "decoder": "decoder"})
    assert "files is {'encoder.onnx': " in refusal(folder)  # that of the decoder is missing


def custom(theirs):
    model = encoder_of(theirs)
    model.graph.node.append(helper.make_node("Own", ["mu"], ["own"], domain="my.own"))
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    return model


def conditional(theirs):
    model = encoder_of(theirs)
    model.graph.input.append(described("label", ["n"], TensorProto.INT64))
    return model


def bytes_taking(theirs):
    return encoder_of(theirs, kind=TensorProto.UINT8)


def of_later_days(theirs):
    model = encoder_of(theirs)
    model.ir_version = 99
    return model


def for_one_picture_inside(theirs):
    """As exporters leave it that look at an example of one picture."""
    model = encoder_of(theirs)
    mu = model.graph.output[0]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 3])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Reshape", [mu.name, "shape"], ["reshaped"]))
    mu.name = "reshaped"
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_later_days, r"does not run \S*e\.onnx: Unsupported model IR version: 99, max "),
        (
            for_one_picture_inside,
            r"any number of rows and takes one alone, as it was exported with an example of one "
            r"\(Non-zero .*Reshape node.*\)\. Export it again for any number, as by",
        ),
        (custom, r"does not run \S*e\.onnx: .*Operators of somebody's own are code, and are not"),
        (conditional, r"takes 2 inputs: 'x' .*, 'label' \['n'\]; expected one, .* fixed inside"),
        (bytes_taking, r"takes tensor\(uint8\); expected tensor\(float\) or "),
    ],
)
def test_models_that_are_refused(tmp_path, theirs, make, message):
    with pytest.raises(BundleError, match=message):
        Probe(given(saved(make(theirs), tmp_path / "e.onnx")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"nothing", "is not an ONNX file, or is damaged"),
        (None, "is not an ONNX file, or is damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"is a Git LFS pointer, .*'git lfs pu"),
        (b"\x89HDF\r\n\x1a\n", r"is HDF5, such as Keras writes\. Export the encoder as ONNX"),
    ],
)
def test_files_that_are_no_onnx(tmp_path, theirs, content, message):
    whole = encoder_of(theirs).SerializeToString()
    (tmp_path / "e.onnx").write_bytes(whole[:-50] if content is None else content)
    with pytest.raises(BundleError, match=rf"e\.onnx {message}"):
        Probe(given(tmp_path / "e.onnx"))
    with pytest.raises(BundleError, match="is a folder; name the file of ONNX in it"):
        Probe(given(tmp_path))
    with pytest.raises(BundleError, match=r"none\.onnx does not exist; expected a model of ONNX"):
        Probe(given(tmp_path / "none.onnx"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (ImageSpec(32, 32), r"shape \(N, 3, 16, 16\), and not \(4, 3, 32, 32\)\. Are --image-size"),
        (ImageSpec(16, 16, channels=1), r"\(N, 3, 16, 16\), and not \(4, 1, 16, 16\)"),
    ],
)
def test_pictures_of_another_shape(tmp_path, theirs, image, message):
    path = saved(encoder_of(theirs), tmp_path / "e.onnx")
    with pytest.raises(BundleError, match=message):
        Probe(given(path, image=image))


def test_a_decoder_of_other_latents(tmp_path, theirs):
    encoder = saved(encoder_of(theirs), tmp_path / "e.onnx")
    tensors = [numbers("w", np.zeros((5, 768), np.float32))]
    nodes = [helper.make_node("MatMul", ["z", "w"], ["x"])]
    model = model_of(nodes, [described("z", ["n", 5])], [described("x", ["n", 768])], tensors)
    with pytest.raises(BundleError, match=r"d\.onnx takes .* shape \(N, 5\), and not \(4, 3"):
        Probe(given(encoder, saved(model, tmp_path / "d.onnx")))


def test_without_onnxruntime(tmp_path, theirs, monkeypatch):
    path = saved(encoder_of(theirs), tmp_path / "e.onnx")
    bundle = export_bundle(tmp_path / "b", given(path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    message = (
        r"is a file of ONNX, which onnxruntime runs, .* pip install 'vaeudf\[onnx\]', or pip i"
    )
    for call in (
        lambda: Probe(given(path)),
        lambda: load_bundle(tmp_path / "b"),
        lambda: load_encoder(bundle.encoder_files),
    ):
        with pytest.raises(BundleError, match=message):
            call()


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        (Hardware("cuda"), "--device cuda, but the model is a file of ONNX, .* Leave --device out"),
        (Hardware("cpu", "bfloat16"), "--precision bfloat16, but .* Leave --precision out"),
    ],
)
def test_hardware_that_it_does_not_run_on(tmp_path, theirs, hardware, message):
    encoder = saved(encoder_of(theirs), tmp_path / "e.onnx")
    decoder = saved(decoder_of(theirs), tmp_path / "d.onnx")
    bundle = export_bundle(tmp_path / "b", given(encoder, decoder))
    with pytest.raises(DeviceError, match=message):
        load_batch_encoder(bundle.encoder_files, hardware, None, 0)
    with pytest.raises(DeviceError, match=message):
        load_batch_decoder(bundle.decoder_files, hardware, None, 0)
    batches = load_batch_encoder(bundle.encoder_files, Hardware(), None, 0)
    mu, _ = batches.start(pictures())()
    np.testing.assert_array_equal(mu, bundle.encoder.encode(pictures())[0])


def test_what_goes_with_a_factory_only(tmp_path):
    with pytest.raises(InputError, match="weights goes with a factory; files of ONNX have"):
        given(tmp_path / "e.onnx", weights="w.pt")
