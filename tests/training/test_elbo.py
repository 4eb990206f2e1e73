"""The ELBO, against torch.distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from tests.support.tolerances import (
    SCORE,
    assert_same_float32,
    near_float32,
    near_float64,
    terms_of,
)
from tests.support.two_colours import SPEC
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.likelihood import MIN_VARIANCE
from vaeudf.training.elbo import evaluate, posterior_means


def vae_and_pictures(count):
    torch.manual_seed(0)
    networks = conv_vae(height=16, width=16, channels=3, latent_dim=5, base_channels=4)
    with torch.no_grad():
        networks.encoder.head.weight *= 30  # posteriors that differ
    return networks, np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def by_hand(networks, pixels, noise_seed):
    """The ELBO with torch.distributions, per picture, one pass over batches of 256."""
    generator = torch.Generator().manual_seed(noise_seed)
    targets = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
    reconstructions, kls = [], []
    for target in targets.split(256):
        with torch.no_grad():
            mu, log_var = networks.encoder(target)
            q = Normal(mu, (log_var / 2).exp())
            noise = torch.randn(mu.shape, generator=generator)
            reconstructions.append(networks.decoder(mu + q.scale * noise))
        prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
        kls.append(kl_divergence(Independent(q, 1), Independent(prior, 1)).double())
    decoded = torch.cat(reconstructions).double()
    error = ((decoded - targets.double()) ** 2).mean()
    pixels_given_z = Independent(Normal(decoded, error.sqrt()), 3)
    log_likelihood = pixels_given_z.log_prob(targets.double())
    return log_likelihood.mean().item(), torch.cat(kls).mean().item(), error.item()


@pytest.mark.parametrize("count", [40, 300])
def test_the_elbo_is_that_of_torch_distributions(count):
    networks, pixels = vae_and_pictures(count)
    elbo = evaluate(networks, pixels, SPEC, latent_dim=5, seed=4)
    log_likelihood, kl, error = by_hand(networks, pixels, 4)
    assert kl > 0.1
    terms = terms_of(*networks)
    assert elbo.kl == near_float32(kl, terms=terms)
    assert elbo.squared_error == near_float32(error, terms=terms)
    # Half a nat a pixel for each relative change of the error.
    nats = pixels[0].size / 2
    assert elbo.reconstruction == near_float32(-log_likelihood, terms=terms, magnitude=nats)
    assert elbo.elbo == near_float32(log_likelihood - kl, terms=terms, magnitude=nats + kl)
    assert elbo.elbo == -elbo.reconstruction - elbo.kl


def test_the_elbo_depends_on_the_seed_alone():
    networks, pixels = vae_and_pictures(20)
    found = [evaluate(networks, pixels, SPEC, latent_dim=5, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_a_perfect_reconstruction_has_a_finite_likelihood():
    networks, _ = vae_and_pictures(1)
    with torch.no_grad():
        for parameter in networks.decoder.parameters():
            parameter.zero_()
        networks.decoder.upsample[-1].bias.fill_(50.0)  # white, whatever z is
    white = np.full((3, 16, 16, 3), 255, np.uint8)
    elbo = evaluate(networks, white, SPEC, latent_dim=5, seed=0)
    assert elbo.squared_error == 0.0
    expected = 0.5 * white[0].size * np.log(2 * np.pi * MIN_VARIANCE)
    assert elbo.reconstruction == near_float64(expected, terms=SCORE)


@pytest.mark.parametrize("count", [3, 600])
def test_posterior_means_are_the_encoders_mu_of_the_rows(count):
    networks, pixels = vae_and_pictures(count)
    rows = np.random.default_rng(1).permutation(count)[: count - 1]
    found = posterior_means(networks.encoder, pixels, rows, SPEC)
    assert found.shape == (count - 1, 5) and found.dtype == np.float32
    with torch.no_grad():
        images = torch.from_numpy(pixels[rows].transpose(0, 3, 1, 2).copy()) / 255
        expected = networks.encoder(images)[0]
    assert_same_float32(found, expected, terms=terms_of(networks.encoder))
