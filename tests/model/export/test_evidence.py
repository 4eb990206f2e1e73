"""What a decoder's outputs say of its likelihood."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.exports import SPEC, pictures, source
from tests.support.tolerances import FUNCTION, near_float64, near_stated
from vaeudf.errors import BundleError, InputError
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.evidence import format_evidence, last_activation, measure
from vaeudf.model.export.probe import Probe
from vaeudf.model.likelihood import MIN_VARIANCE, BernoulliPixels, GaussianPixels

BERNOULLI = BernoulliPixels()
SHAPE = (16, 16, 3)
LEVELS = 16 * 16 * 3


def decoded(count=6, low=0.0, high=1.0):
    return np.random.default_rng(1).uniform(low, high, (count, *SHAPE)).astype(np.float32)


def evidence_of(m, pixels=None):
    x = pictures(len(m)) if pixels is None else pixels
    return measure((x[i : i + 4], m[i : i + 4]) for i in range(0, len(m), 4))


# ---- the numbers


def test_the_nats_are_those_of_torch():
    m = decoded()
    m[0, 0, 0] = [0.0, 1.0, 0.5]
    found = evidence_of(m)
    assert (found.pictures, found.levels) == (6, LEVELS)
    assert (found.low, found.high) == (0.0, 1.0) and found.are_probabilities
    x, mean = torch.from_numpy(pictures()).double() / 255, torch.from_numpy(m).double()
    error = nn.functional.mse_loss(mean, x).item()
    assert found.squared_error == near_float64(error, terms=6 * LEVELS)
    for variance in (found.gaussian.variance, 0.5):
        pixels = torch.distributions.Normal(mean, variance**0.5)
        nats = pixels.log_prob(x).sum(dim=(1, 2, 3)).mean().item()
        magnitude = LEVELS * (error / variance + abs(math.log(2 * math.pi * variance)))
        expected = near_float64(nats, terms=6 * LEVELS, magnitude=magnitude)
        assert found.log_likelihood(GaussianPixels(variance)) == expected
    entropy = nn.functional.binary_cross_entropy(mean, x, reduction="sum").item() / 6
    assert found.log_likelihood(BERNOULLI) == near_float64(-entropy, terms=6 * LEVELS + FUNCTION)


def test_the_variance_is_the_one_that_makes_the_pictures_most_likely():
    found = evidence_of(decoded())
    best = found.log_likelihood(found.gaussian)
    assert found.gaussian.variance == near_stated(found.squared_error, digits=4)
    for factor in (0.9, 0.99, 1.01, 1.1):
        other = GaussianPixels(factor * found.gaussian.variance)
        assert found.log_likelihood(other) < best


def test_perfect_reconstructions_have_the_least_variance():
    found = evidence_of((pictures() / 255).astype(np.float32))
    assert found.squared_error < 1e-12
    assert found.gaussian.variance == near_stated(MIN_VARIANCE, digits=4)
    assert math.isfinite(found.log_likelihood(found.gaussian))


@pytest.mark.parametrize(("value", "finite"), [(1.01, True), (-0.01, True), (np.nan, False)])
def test_what_is_no_probability(value, finite):
    m = decoded()
    m[5, 3, 2, 1] = value
    found = evidence_of(m)
    assert not found.are_probabilities and found.is_finite == finite
    assert math.isnan(found.log_likelihood(BERNOULLI))
    m[5, 3, 2, 1] = 1.0 + 2**-20  # float32's rounding of mean and std
    assert evidence_of(m).are_probabilities


# ---- the table


def test_the_table():
    found = evidence_of(decoded())
    head, gaussian, bernoulli = format_evidence(found, BERNOULLI).splitlines()
    assert head.split() == ["likelihood", "variance", "log", "p(x|mu),", "nats"]
    nats = found.log_likelihood(found.gaussian)
    assert gaussian.split() == ["gaussian", f"{found.squared_error:.4g}", f"{nats:.6g}"]
    assert bernoulli.split() == ["*bernoulli", "-", f"{-found.cross_entropy:.6g}"]
    assert {len(head), len(gaussian), len(bernoulli)} == {44}
    _, measured, stated, _ = format_evidence(found, GaussianPixels(0.5)).splitlines()
    nats = found.log_likelihood(GaussianPixels(0.5))
    assert measured == gaussian and stated.split() == ["*gaussian", "0.5", f"{nats:.6g}"]


@pytest.mark.parametrize(
    ("low", "high", "stated"), [(-0.5, 1.5, "-0.5 to 1.5"), (0.2, 2.0, "0.2 to 2")]
)
def test_the_table_says_what_is_impossible(low, high, stated):
    m = decoded(low=low, high=high)
    m[0, 0, 0, :2] = low, high
    *_, bernoulli = format_evidence(evidence_of(m), None).splitlines()
    assert bernoulli == (
        f" bernoulli    impossible: decode(mu) has levels from {stated}, which are no probabilities"
    )
    m[0, 0, 0, 0] = np.nan
    lines = format_evidence(evidence_of(m), None).splitlines()
    assert len(lines) == 2 and "impossible: decode(mu) has levels from nan to nan" in lines[1]


# ---- the last layer


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Linear(3, 12), nn.Sigmoid()], "sigmoid"),
        ([nn.Linear(3, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2))], "sigmoid"),
        ([nn.Linear(3, 12), nn.Tanh()], "tanh"),
        ([nn.Sigmoid(), nn.Linear(3, 12)], "none"),
        ([nn.Linear(3, 12)], "none"),
        ([nn.Identity()], "none"),
    ],
)
def test_the_last_layer(layers, expected):
    assert last_activation(nn.Sequential(*layers), 3) == expected


def test_a_function_in_somebodys_code_is_not_known():
    assert Probe(source(variance="log_var")).last_activation() == "none"
    said = {"factory": "tests.support.elsewhere:two", "arguments": {}, "variance": "log_var"}
    assert Probe(source(**said, activation="sigmoid")).last_activation() == "sigmoid"


# ---- bundles


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("bernoulli", BERNOULLI),
        (BERNOULLI, BERNOULLI),
        ("gaussian:0.25", GaussianPixels(0.25)),
        (GaussianPixels(0.25), GaussianPixels(0.25)),
    ],
)
def test_what_is_said_is_kept(tmp_path, said, expected):
    export_bundle(tmp_path / "b", source(variance="log_var", likelihood=said))
    assert load_bundle(tmp_path / "b", trust_model=True).likelihood == expected


@pytest.mark.parametrize("scaling", ["zero_one", "minus_one_one"])
def test_a_variance_that_is_measured(tmp_path, scaling):
    spec = replace(SPEC, scaling=scaling)
    given = source("Pair", variance="log_var", likelihood="gaussian", image=spec)
    torch.manual_seed(3)
    bundle = export_bundle(tmp_path / "b", given, pictures())
    model = bundle.encoder.network.model
    x = torch.from_numpy(pictures()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        m = model.decode(model.encode(x if scaling == "zero_one" else 2 * x - 1)[0])
        m = m if scaling == "zero_one" else (m + 1) / 2
    error = nn.functional.mse_loss(m.double(), x.double()).item()
    assert bundle.likelihood.variance == near_stated(error, digits=4)


def test_a_variance_is_not_measured_on_noise(tmp_path):
    with pytest.raises(InputError) as caught:
        export_bundle(tmp_path / "b", source(variance="log_var", likelihood="gaussian"))
    assert str(caught.value) == (
        "likelihood is gaussian, whose variance is measured on pictures, and there are none; name "
        "some with --catalog (or pass export_bundle a sample), or the variance, such as "
        "gaussian:0.0123."
    )
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("sample", [pictures(), None])
def test_logits_are_no_bernoulli(tmp_path, sample):
    said = {"factory": "tests.support.elsewhere:two", "arguments": {}, "variance": "log_var"}
    with pytest.raises(BundleError) as caught:
        export_bundle(tmp_path / "b", source(likelihood="bernoulli", **said), sample)
    assert str(caught.value).startswith(
        f"likelihood is said to be bernoulli, but decode(mu) of {4 if sample is None else 6} "
        "pictures has levels from -"
    )
    assert str(caught.value).endswith(
        "; expected probabilities, in [0, 1]. If the decoder gives logits, say --activation "
        "sigmoid; if --scaling is not that of training, mend it; if the model was trained with the "
        "squared error, say --likelihood gaussian."
    )
    assert not (tmp_path / "b").exists()
    given = source(likelihood="bernoulli", activation="sigmoid", **said)
    assert export_bundle(tmp_path / "b", given, sample).likelihood == BERNOULLI


@pytest.mark.parametrize("said", ["gaussian", "gaussian:0.1", "bernoulli", BERNOULLI])
def test_a_model_without_a_decoder_has_no_likelihood(said):
    with pytest.raises(BundleError) as caught:
        Probe(source(variance="log_var", decoder="none", likelihood=said))
    assert str(caught.value) == (
        f"likelihood is said to be {said}, but the model has no decoder, and a likelihood is that "
        "of pictures around what one gives. Leave --likelihood out, or name what decodes with "
        "--decoder or --onnx-decoder."
    )


@pytest.mark.parametrize("said", ["gaussian", "gaussian:0.1", "bernoulli"])
def test_a_decoder_that_gives_nan(tmp_path, said):
    probe = Probe(source(variance="log_var", likelihood=said))
    with torch.no_grad():
        probe.model.dec.bias[5] = torch.nan
    probe.use(pictures())
    kind = said.partition(":")[0]
    message = rf"^likelihood is said to be {kind}, but the decoder gives numbers that are not finit"
    with pytest.raises(BundleError, match=message):
        probe.save(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_words_that_are_no_likelihood():
    with pytest.raises(
        InputError, match=r"^likelihood is 'mse'; expected gaussian:VARIANCE, .* gaussian alone"
    ):
        source(likelihood="mse")
