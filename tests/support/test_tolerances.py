"""The bounds can fail, and no order of addition makes them fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.scene import ENCODER_TERMS, LATENT_DIM, make_bundle
from tests.support.tolerances import (
    FUNCTION,
    SCORE,
    UNIT_FLOAT32,
    UNIT_FLOAT64,
    assert_rounded_to_levels,
    assert_same_bfloat16,
    assert_same_float32,
    assert_same_float64,
    assert_same_levels,
    assert_same_minimum,
    assert_same_scores,
    assert_same_training,
    assert_sampled,
    assert_sketched,
    assert_stated,
    assert_within,
    differ,
    gamma,
    near_float32,
    near_float64,
    near_levels,
    near_score,
    near_sketched,
    near_squared_error,
    near_stated,
    terms_of,
)
from vaeudf.gaussian import log_prob
from vaeudf.model.conv_vae import conv_vae

FAN_INS = (10, 100, 1_000, 10_000)


def refused():
    return pytest.raises(AssertionError, match="numbers differ by more than")


def layer(fan_in, dtype, seed=0):
    """Weights and inputs of both signs, and outputs in many digits."""
    rng = np.random.default_rng([fan_in, seed])
    weights = rng.normal(size=(8, fan_in)).astype(dtype)
    inputs = rng.normal(size=(5, fan_in)).astype(dtype)
    exact = inputs.astype(np.longdouble) @ weights.astype(np.longdouble).T
    return weights, inputs, exact.astype(np.float64)


def one_by_one(products):
    """The sums over the last axis, a term at a time: the order with the largest error."""
    total = np.zeros(products.shape[:-1], products.dtype)
    for term in np.moveaxis(products, -1, 0):
        total += term
    return total


def in_some_orders(weights, inputs):
    """The same sums in several orders: of BLAS, sorted, at random; at once, in pairs, in lanes."""
    products = inputs[:, None] * weights
    yield inputs @ weights.T
    yield products.sum(axis=-1)
    yield one_by_one(np.sort(products, axis=-1))
    rng = np.random.default_rng(0)
    for _ in range(3):
        yield one_by_one(products[..., rng.permutation(products.shape[-1])])
    lanes = products.shape[-1] // 5  # 2 lanes and more
    yield one_by_one(one_by_one(products.reshape(5, 8, 5, lanes)))


@pytest.mark.parametrize("fan_in", FAN_INS)
def test_float32_sums_in_any_order(fan_in):
    weights, inputs, exact = layer(fan_in, np.float32)
    first, *others = in_some_orders(weights, inputs)
    assert_same_float32(first, exact, terms=fan_in)
    for found in others:
        assert found.dtype == np.float32
        assert_same_float32(found, exact, terms=fan_in)
        assert_same_float32(found, first, terms=fan_in)
        assert not differ(found, first)
        assert found[0, 0] == near_float32(first[0, 0], terms=fan_in, magnitude=np.abs(first).max())


@pytest.mark.parametrize("fan_in", FAN_INS)
def test_float64_sums_in_any_order(fan_in):
    weights, inputs, exact = layer(fan_in, np.float64)
    added = np.abs(inputs) @ np.abs(weights).T
    for found in in_some_orders(weights, inputs):
        assert_same_float64(found, exact, terms=fan_in, magnitude=added)
    # Where nothing cancels the sum itself is what was added.
    positive = np.abs(weights), np.abs(inputs)
    for found in in_some_orders(*positive):
        assert_same_float64(found, added, terms=fan_in)


@pytest.mark.parametrize("fan_in", FAN_INS)
def test_what_float32_networks_are_not(fan_in):
    weights, inputs, exact = layer(fan_in, np.float32)
    found = (inputs @ weights.T).astype(np.float32)
    rounded = torch.from_numpy(found).bfloat16().float().numpy()
    by_parts = (torch.from_numpy(a).bfloat16().float().numpy() for a in (inputs, weights))
    inputs_rounded, weights_rounded = by_parts
    swapped = found[[1, 0, 2, 3, 4]]
    one_wrong = found.copy()
    one_wrong[2, 3] += 0.002 * np.abs(found).max()
    for wrong in (
        rounded,
        inputs_rounded @ weights_rounded.T,
        swapped,
        found[:, ::-1],
        one_wrong,
        found * np.float32(1.002),
        np.where(found == found[0, 0], np.nan, found),
    ):
        with refused():
            assert_same_float32(wrong, exact, terms=fan_in)
    if fan_in <= 1_000:
        with refused():
            assert_same_float32(found.astype(np.float16), exact, terms=fan_in)
    with pytest.raises(AssertionError, match=r"shape \(5, 7\); expected \(5, 8\)"):
        assert_same_float32(found[:, 1:], exact, terms=fan_in)
    assert differ(swapped, found) and differ(found[:, ::-1], found)


def test_bounds_that_would_say_nothing():
    with pytest.raises(ValueError, match="bfloat16 could not be told from float32"):
        assert_same_float32(1.0, 1.0, terms=20_000)
    with pytest.raises(ValueError, match="too many or too few for a bound"):
        assert_same_float64(1.0, 1.0, terms=2.0**52)
    with pytest.raises(ValueError, match="too many or too few for a bound"):
        near_float64(1.0, terms=0)


def test_gamma_is_that_of_the_book():
    assert gamma(1, UNIT_FLOAT64) == 1 / (2**53 - 1)
    assert gamma(2**22, UNIT_FLOAT32) == 1 / 3


def test_what_float64_formulas_are_not():
    rng = np.random.default_rng(1)
    z, mu, log_var = rng.normal(size=(4, 10)), rng.normal(size=(30, 10)), rng.normal(size=(30, 10))
    scores = log_prob(z, mu, log_var)
    backwards = log_prob(*(array[:, ::-1] for array in (z, mu, log_var)))
    assert_same_scores(backwards, scores, log_var, dims=10)
    single = log_prob(*(array.astype(np.float32) for array in (z, mu, log_var)))
    swapped = scores[:, [1, 0, *range(2, 30)]]
    for wrong in (scores * (1 + 1e-6), scores * (1 + 1e-12), scores + 1e-11, single, swapped):
        with refused():
            assert_same_scores(wrong, scores, log_var, dims=10)
        with refused():
            assert_same_float64(wrong, scores, terms=10 + SCORE, magnitude=np.abs(scores) + 20)
    assert scores[0, 0] == near_score(scores[0, 0], log_var, dims=10)
    assert scores[0, 0] * (1 + 1e-6) != near_score(scores[0, 0], log_var, dims=10)
    assert 1 + 1e-12 != near_float64(1.0, terms=SCORE)
    assert 1 + 1e-15 == near_float64(1.0, terms=SCORE)
    assert [1.0, 2.0 + 1e-12] != near_float64([1.0, 2.0], terms=SCORE)


def test_infinite_and_missing_numbers():
    assert_within([np.inf, -np.inf, 1.0], [np.inf, -np.inf, 1.0], 0.0, why="nothing")
    for wrong in ([np.inf, 1.0], [-np.inf, np.inf], [np.nan, np.inf], [0.0, 1e308]):
        with refused():
            assert_within(wrong, [0.0, np.inf], 1.0, why="one")
    with refused():
        assert_within([np.nan], [np.nan], np.inf, why="anything")


def test_the_message_names_the_place_that_is_most_wrong():
    message = (
        r"2 of 4 numbers differ by more than some reason; most of all 7 at \(1, 0\), expected 3: "
        r"they differ by 4, and 0.5 is allowed"
    )
    with pytest.raises(AssertionError, match=message):
        assert_within([[1.0, 3.0], [7.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]], 0.5, why="some reason")


def test_networks(tmp_path):
    encoder = make_bundle(tmp_path / "one", LATENT_DIM, seed=0).encoder
    other = make_bundle(tmp_path / "two", LATENT_DIM, seed=1).encoder
    # Four layers of 4 × 4 pixels, from 3 channels to 32, and the head.
    assert ENCODER_TERMS == terms_of(encoder)
    assert ENCODER_TERMS == 16 * (3 + 4 + 8 + 16) + 32 + 5 * (1 + FUNCTION)
    transposed = torch.nn.ConvTranspose2d(6, 2, 4)
    assert terms_of(transposed) == 6 * 16 + 1 + FUNCTION
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    found, expected = encoder.encode(pixels), encoder.encode(pixels[::-1].copy())
    for part, reversed_part in zip(found, expected, strict=True):
        assert_same_float32(part, reversed_part[::-1], terms=ENCODER_TERMS)
        for wrong in (reversed_part, np.roll(part, 1, axis=1), part[[1, 0, *range(2, 40)]]):
            with refused():
                assert_same_float32(part, wrong, terms=ENCODER_TERMS)
        half = torch.from_numpy(part).bfloat16().float().numpy()
        assert_same_bfloat16(half, part, layers=5)
        with refused():
            assert_same_float32(half, part, terms=ENCODER_TERMS)
        with refused():
            assert_same_bfloat16(1.1 * part, part, layers=5)
    assert_same_training(encoder, encoder, learning_rate=1e-3)
    with refused():
        assert_same_training(encoder, other, learning_rate=1e-3)


def test_a_step_with_other_pictures_is_another_training():
    torch.manual_seed(0)
    networks = conv_vae(height=16, width=16, channels=3, latent_dim=2, base_channels=4)
    start = networks.encoder.state_dict()

    def trained(seed):
        encoder = conv_vae(height=16, width=16, channels=3, latent_dim=2, base_channels=4).encoder
        encoder.load_state_dict(start)
        optimizer = torch.optim.AdamW(encoder.parameters(), 1e-3)
        torch.manual_seed(seed)
        mu, log_var = encoder(torch.rand(8, 3, 16, 16))
        (mu.square() + log_var.exp() - log_var).mean().backward()
        optimizer.step()
        return encoder

    assert_same_training(trained(1), trained(1), learning_rate=1e-3)
    with refused():
        assert_same_training(trained(1), trained(2), learning_rate=1e-3)


def test_pixels():
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0, 1, (50, 16, 16, 3)).astype(np.float32)
    shifted = drawn * (1 + 10 * np.float32(UNIT_FLOAT32))
    levels, others = (np.rint(255 * picture).astype(np.uint8) for picture in (drawn, shifted))
    assert_same_levels(levels, others)
    assert_rounded_to_levels(levels, 255.0 * drawn, terms=300)
    assert near_levels((10, 20, 30)) == (11, 19, 30)
    assert near_levels((10, 20, 30)) != (12, 20, 30)
    assert near_levels((10, 20, 30)) != (20, 10, 30)
    with refused():
        assert_same_levels(levels, levels[::-1])
    with refused():  # 0 and 255 are not neighbours, as they are in eight bits
        assert_same_levels(np.uint8([0]), np.uint8([255]))
    with refused():
        assert_rounded_to_levels(np.floor(255 * drawn), 255.0 * drawn, terms=300)
    target = rng.uniform(0, 1, drawn.shape)
    error, other = (float(np.mean((target - part / 255) ** 2)) for part in (levels, others))
    assert other == near_squared_error(error, terms=300)
    assert float(np.mean((target - drawn[::-1]) ** 2)) != near_squared_error(error, terms=300)


def test_numbers_as_they_are_shown():
    values = np.random.default_rng(0).normal(size=1_000) * 100
    assert_stated(values.round(3), values, decimals=3)
    assert_stated([float(f"{value:.3g}") for value in values], values, digits=3)
    assert values[0].round(6) == near_stated(values[0], decimals=6)
    assert float(f"{values[0]:.4g}") == near_stated(values[0], digits=4)
    for shown in (values.round(2), values.round(3) + 0.002, -values.round(3)):
        with refused():
            assert_stated(shown, values, decimals=3)
    with refused():
        assert_stated([float(f"{value:.2g}") for value in values], values, digits=3)


def test_draws():
    rng = np.random.default_rng(0)
    means = rng.normal(3.0, 2.0, size=(200, 1_000)).mean(axis=1)
    error = 2.0 / 1_000**0.5
    assert_sampled(means, np.full(200, 3.0), standard_error=error)
    with refused():
        assert_sampled(means, np.full(200, 3.4), standard_error=error)


def test_sketches_and_minima():
    exact = np.array([1e-12, 0.5, 100.0])
    near = {"accuracy": 0.01, "smallest": 1e-9}
    assert_sketched([0.0, 0.505, 99.0], exact, **near)
    assert near_sketched(100.0, **near) == 101.0 and near_sketched(100.0, **near) != 101.1
    for wrong in ([0.0, 0.506, 100.0], [1e-8, 0.5, 100.0], [0.0, 100.0, 0.5]):
        with refused():
            assert_sketched(wrong, exact, **near)
    assert_same_minimum([2.00005, -1.0], [2.0, -1.0])
    with refused():
        assert_same_minimum([2.001, -1.0], [2.0, -1.0])
