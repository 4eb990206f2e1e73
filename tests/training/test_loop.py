"""Training on pictures of two colours."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from tests.support.tolerances import (
    SCORE,
    assert_sampled,
    assert_stated,
    differ,
    near_float32,
    near_float64,
    near_stated,
    terms_of,
)
from tests.support.two_colours import PLAN, SPEC, two_colours, with_changes
from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import save_bundle
from vaeudf.model.likelihood import MIN_VARIANCE, GaussianPixels
from vaeudf.training.checkpoints import Checkpoints
from vaeudf.training.loop import reconstruct, train
from vaeudf.training.processes import Processes


@pytest.fixture(scope="module")
def trained():
    return train(two_colours(), SPEC, PLAN)


# ---- what comes out


def test_the_model_learns_the_two_colours(trained, tmp_path):
    few = train(two_colours(), SPEC, with_changes(epochs=1)).held_out
    # Grey in the place of both colours has a squared error of about 0.1.
    assert trained.held_out.squared_error < 0.02 < 0.05 < few.squared_error
    assert trained.held_out.elbo > few.elbo + 500
    bundle = save_bundle(tmp_path / "model", trained.networks, trained.manifest)
    mu, log_var = bundle.encoder.encode(two_colours(2))
    assert np.abs(mu[0] - mu[1]).max() > 1 and (log_var < 0).any()
    red, blue = bundle.decode(mu).reshape(2, -1, 3).mean(axis=1)
    assert red[0] > 2 * blue[0] and blue[2] > 2 * red[2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(trained):
    torch.manual_seed(99)  # whatever was drawn before
    np.random.seed(99)
    again = train(two_colours(), SPEC, PLAN)
    terms = terms_of(*trained.networks)
    assert again.held_out.elbo == near_float32(trained.held_out.elbo, terms=terms)
    assert again.manifest.z_range == trained.manifest.z_range
    other = train(two_colours(), SPEC, with_changes(seed=1))
    assert differ(other.held_out.elbo, trained.held_out.elbo)


def test_the_manifest(trained):
    manifest = trained.manifest
    assert manifest.architecture == "conv_vae" and manifest.variance == "log_var"
    assert manifest.arguments == {
        "height": 16,
        "width": 16,
        "channels": 3,
        "latent_dim": 2,
        "base_channels": 8,
    }
    assert manifest.image == SPEC and manifest.latent_dim == 2
    facts = manifest.training
    assert (facts["train_images"], facts["held_out_images"]) == (108, 12)
    assert {name: facts["plan"][name] for name in ("epochs", "beta", "seed", "batch_size")} == {
        "epochs": 20,
        "beta": 0.1,
        "seed": 0,
        "batch_size": 16,
    }
    assert facts["held_out"] == {
        name: near_stated(value, decimals=6) for name, value in trained.held_out._asdict().items()
    }


def test_the_likelihood_is_what_was_trained(trained, tmp_path):
    expected = GaussianPixels(trained.held_out.squared_error)
    assert trained.manifest.likelihood == expected
    assert save_bundle(tmp_path / "m", trained.networks, trained.manifest).likelihood == expected
    # At its maximum-likelihood value the Gaussian gives the reconstruction that was measured.
    pixels = SPEC.height * SPEC.width * SPEC.channels
    nats = 0.5 * pixels * (math.log(2 * math.pi * expected.variance) + 1)
    assert nats == near_float64(trained.held_out.reconstruction, terms=SCORE)


def test_the_z_range_is_where_training_items_lie(trained):
    low, high = np.array(trained.manifest.z_range)
    assert low.shape == high.shape == (2,) and (low <= high).all()
    with torch.no_grad():
        images = torch.from_numpy(two_colours(2).transpose(0, 3, 1, 2).copy()) / 255
        mu = trained.networks.encoder(images)[0].numpy()
    # All pictures of a colour are the same, so each has one mu.
    assert_stated(low, mu.min(axis=0), decimals=3)
    assert_stated(high, mu.max(axis=0), decimals=3)


def test_the_z_range_leaves_out_only_a_few():
    pixels = np.random.default_rng(0).integers(0, 256, (600, 1, 1, 3), np.uint8)
    pixels = np.broadcast_to(pixels, (600, 16, 16, 3))
    few = train(pixels, SPEC, with_changes(epochs=2))
    low, high = np.array(few.manifest.z_range)
    with torch.no_grad():
        images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()) / 255
        mu = few.networks.encoder(images)[0].numpy()
    inside = ((mu >= low - 1e-3) & (mu <= high + 1e-3)).mean(axis=0)
    assert ((inside > 0.97) & (inside < 1)).all()
    # Of 600 pictures, 540 are trained on: the others are a tenth of the quantiles' variance, and
    # there a normal density is 0.0145 / sigma.
    standard_error = np.sqrt(0.1 * 0.005 * 0.995 / 540) / 0.0145 * mu.std(axis=0)
    ends = np.quantile(mu, [0.005, 0.995], axis=0)
    assert_sampled([low, high], ends, standard_error=[standard_error] * 2)


def test_grey_pictures():
    grey = train(two_colours(channels=1), ImageSpec(16, 16, 1), with_changes(epochs=2))
    assert grey.manifest.image.channels == grey.manifest.arguments["channels"] == 1


@pytest.mark.parametrize("level", [0, 255])
def test_pictures_without_any_difference_do_not_end_the_training(level):
    pixels = np.full((60, 16, 16, 3), level, np.uint8)
    found = train(pixels, SPEC, with_changes(epochs=40, learning_rate=1e-2)).held_out
    assert math.isfinite(found.elbo) and found.squared_error < 1e-4
    assert found.likelihood.variance >= MIN_VARIANCE


def test_beta_weighs_the_kl_term(trained):
    strict = train(two_colours(), SPEC, with_changes(beta=100.0)).held_out
    assert strict.kl < 0.2 * trained.held_out.kl
    assert strict.squared_error > trained.held_out.squared_error


# ---- errors


def test_too_few_images_for_a_batch():
    with pytest.raises(
        InputError, match=r"^17 images are too few to train on; expected at least 18"
    ):
        train(two_colours(17), SPEC, PLAN)
    train(two_colours(18), SPEC, with_changes(epochs=1))


def test_processes_that_cannot_share_a_batch():
    with pytest.raises(InputError, match=r"num_processes is 3; .* batch size, 16,"):
        train(two_colours(), SPEC, PLAN, processes=Processes(0, 3))


def test_plans_at_the_edge():
    train(two_colours(20), SPEC, with_changes(epochs=1, beta=0.0, seed=2**63 - 1))


def test_a_training_that_diverges():
    with pytest.raises(
        InputError, match=r"^training diverged \(ELBO -?(nan|inf)\); try a learning_rate"
    ):
        train(two_colours(), SPEC, with_changes(epochs=1, learning_rate=1e30))


def test_pictures_that_the_model_is_not_made_for():
    with pytest.raises(InputError, match=r"^scaling is minus_one_one; expected zero_one, because"):
        train(two_colours(), ImageSpec(16, 16, scaling="minus_one_one"), PLAN)
    with pytest.raises(BundleError, match="conv_vae cannot take images of 24 × 16 pixels"):
        train(two_colours(), ImageSpec(24, 16), PLAN)
    with pytest.raises(InputError, match=r"pixels are uint8 of shape .*; expected uint8 of shape"):
        train(two_colours(), ImageSpec(32, 16), PLAN)


# ---- checkpoints, and when to stop


class Kept:
    """A checkpoint in memory; after so many it is as if the process were killed."""

    def __init__(self, dies_after=None):
        self.data, self.count, self.dies_after = None, 0, dies_after

    def write(self, data):
        self.data, self.count = data, self.count + 1
        if self.count == self.dies_after:
            raise KeyboardInterrupt

    def as_checkpoints(self):
        return Checkpoints(lambda: self.data, self.write)


def same_weights(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        state = other.state_dict()
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("patience", [0, 3])
def test_a_killed_training_ends_as_if_it_had_not_been(patience):
    plan = with_changes(epochs=6, patience=patience)
    whole = train(two_colours(), SPEC, plan)
    kept = Kept(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        train(two_colours(), SPEC, plan, checkpoints=kept.as_checkpoints())
    kept.dies_after = None
    resumed = train(two_colours(), SPEC, plan, checkpoints=kept.as_checkpoints())
    assert resumed.resumed_epochs == 2 and kept.count == len(resumed.history)
    assert resumed.history == whole.history and resumed.kept_epoch == whole.kept_epoch
    same_weights(resumed.networks, whole.networks)
    again = train(two_colours(), SPEC, plan, checkpoints=kept.as_checkpoints())
    assert again.resumed_epochs == len(whole.history) and kept.count == len(whole.history)
    same_weights(again.networks, whole.networks)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("what", ["plan", "pixels", "bytes", "pickle"])
def test_a_checkpoint_of_something_else(what, caplog):
    plan, pixels, kept = with_changes(epochs=2), two_colours(), Kept()
    train(pixels, SPEC, plan, checkpoints=kept.as_checkpoints())
    if what == "plan":
        plan = with_changes(epochs=3)
    elif what == "pixels":
        pixels = pixels[:-1]
    elif what == "bytes":
        kept.data = kept.data[:100]
    else:
        kept.data = pickle.dumps({"key": Kept})
    with caplog.at_level("INFO", logger="vaeudf"):
        found = train(pixels, SPEC, plan, checkpoints=kept.as_checkpoints())
    assert found.resumed_epochs == 0 and len(found.history) == plan.epochs
    told = "other options or images; training starts anew" in caplog.text
    assert told == (what in ("plan", "pixels"))
    assert ("cannot be read, so training starts anew" in caplog.text) != told


def test_training_stops_when_the_elbo_does_not_rise(caplog):
    """Noise has nothing that could be learned, but the training pictures by heart."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    plan = with_changes(epochs=60, patience=3, base_channels=16, beta=0.01, learning_rate=1e-2)
    with caplog.at_level("INFO", logger="vaeudf"):
        found = train(pixels, SPEC, plan)
    assert 4 <= len(found.history) < 60 and found.kept_epoch == len(found.history) - 4
    assert f"stopped after epoch {len(found.history)} of 60: 3 epochs have" in caplog.text
    objective = [e.reconstruction + plan.beta * e.kl for e in found.history]
    assert min(objective) == objective[found.kept_epoch]
    kept = found.history[found.kept_epoch]
    terms = terms_of(*found.networks)
    assert found.held_out.elbo == near_float32(kept.elbo, terms=terms)
    to_the_end = train(pixels, SPEC, with_changes(**{**vars(plan), "patience": 0, "epochs": 12}))
    assert len(to_the_end.history) == 12 and to_the_end.kept_epoch == 11
    assert to_the_end.held_out.elbo == near_float32(to_the_end.history[-1].elbo, terms=terms)


def test_reconstructions(trained):
    found = reconstruct(trained, two_colours(2))
    assert found.shape == (2, 16, 16, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - two_colours(2)).mean() < 40
