"""How near two results must be that ought to be equal; what each bound follows from.

A literal such as ``atol=1e-5`` is tuned to the processor that it was tried on. SSE, AVX2 and
AVX-512 add the products of a sum in different orders, with or without fused multiply-add, and so
does every BLAS. What holds on all of them is a theorem (Higham, *Accuracy and Stability of
Numerical Algorithms*, 2nd edition, 2002, sections 3.1 and 4.2): a sum of m products, computed in
any order, is off by at most γ_m = m·u / (1 - m·u) times the sum of the terms' magnitudes, where u
is the unit roundoff. Two computations of the same sum differ by at most twice that.

Choose by what is compared:

| | |
|---|---|
| what a network gives in float32 | ``assert_same_float32``, ``near_float32``, with ``terms_of`` |
| the same in bfloat16 | ``assert_same_bfloat16`` |
| a formula in float64 | ``assert_same_float64``, ``near_float64`` |
| a log density or a divergence | ``assert_same_scores``, ``near_score`` |
| pixels, 0 to 255 | ``assert_same_levels``, ``assert_rounded_to_levels``, ``near_levels`` |
| the error of a picture | ``near_squared_error`` |
| a decimal number that was rounded to be shown | ``assert_stated``, ``near_stated`` |
| a statistic of random draws | ``assert_sampled`` |
| a sketch | ``assert_sketched``, ``near_sketched`` |
| a network that is trained twice | ``assert_same_training`` |
| where two optimisers end | ``assert_same_minimum`` |
| what has a bound of its own | ``assert_within`` |
| what ought *not* to be equal | ``differ`` |

What is exact is compared with ``==``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

UNIT_FLOAT64 = 2.0**-53
UNIT_FLOAT32 = 2.0**-24
UNIT_BFLOAT16 = 2.0**-8

FUNCTION = 8
"""What exp, log, a sigmoid or a SiLU counts among the terms of a sum: libraries give them to within
4 units in the last place, 8 unit roundoffs (SLEEF and Intel's SVML promise 1 to 4)."""


def gamma(terms: float, unit: float) -> float:
    """γ_m = m·u / (1 - m·u), by how much a sum of m products may be off.

    Relative to the sum of the terms' magnitudes, in any order of addition (Higham 2002, 3.1).
    """
    if not 0 < terms * unit < 0.5:
        raise ValueError(f"{terms} terms of unit {unit} are too many or too few for a bound")
    return terms * unit / (1 - terms * unit)


def terms_of(*networks: nn.Module) -> int:
    """The products in a row on the way through networks: the sum of all layers' fan-ins.

    Each layer adds its bias and at most one function after it. Layers that stand beside each other
    are counted as if one followed the other, which is too many by a little.
    """
    terms = 0
    for network in networks:
        for layer in network.modules():
            weight = getattr(layer, "weight", None)
            if weight is not None:
                outputs = weight.shape[1 if getattr(layer, "transposed", False) else 0]
                terms += weight.numel() // outputs + 1 + FUNCTION
    return terms


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _largest(values: Any) -> float:
    return float(np.max(np.abs(_numbers(values)), initial=0.0))


def assert_within(found: Any, expected: Any, bound: Any, *, why: str) -> None:
    """Every number within its bound of the expected one; infinite ones equal, and none NaN.

    For bounds that follow from what a test is about; the others have a kind of their own.

    Args:
        found: What is tested.
        expected: What it ought to be, of the same shape.
        bound: By how much it may differ: a number, or an array for each number.
        why: What the bound is, for the message.
    """
    found, expected = _numbers(found), _numbers(expected)
    assert found.shape == expected.shape, f"shape {found.shape}; expected {expected.shape}"
    bound = np.broadcast_to(_numbers(bound), expected.shape)
    with np.errstate(invalid="ignore"):  # inf - inf
        difference = np.abs(found - expected)
    within = (difference <= bound) & np.isfinite(expected) | (found == expected)
    if not within.all():
        # The place that is most wrong; NaN is more wrong than anything.
        wrong = np.nan_to_num(difference, nan=np.inf)
        excess = np.where(within, -1.0, wrong - np.minimum(bound, np.finfo(float).max))
        at = np.unravel_index(np.argmax(excess), excess.shape)
        place = f" at {tuple(map(int, at))}" if at else ""
        raise AssertionError(
            f"{np.count_nonzero(~within)} of {within.size} numbers differ by more than {why}; "
            f"most of all {found[at]:.17g}{place}, expected {expected[at]:.17g}: they differ by "
            f"{difference[at]:.3g}, and {bound[at]:.3g} is allowed"
        )


# ---- float32


def _float32(terms: float) -> float:
    """The relative bound, twice γ, as neither of the two results need be the exact one."""
    relative = 2 * gamma(terms, UNIT_FLOAT32)
    if relative > UNIT_BFLOAT16 / 2:
        raise ValueError(f"of {terms} terms in a row, bfloat16 could not be told from float32")
    return relative


def assert_same_float32(found: Any, expected: Any, *, terms: float, magnitude: Any = None) -> None:
    """Two float32 computations of a network, or one and the exact numbers.

    They may differ by 2·γ_m times the largest magnitude in the *array*, with m = ``terms``, the
    products in a row from the network's input to its output. The bound is for the array and not
    for each number, as the terms of both signs within a network cancel, and what cancels to a
    small number has the error of what was added. Strictly γ_m is relative to the sum of the terms'
    magnitudes, which is some √m times a network's largest output. But roundings cancel as the
    terms do: their sum grows as √m·u (Higham and Mary, 2019, *A New Approach to Probabilistic
    Rounding Error Analysis*), so that the bound has a factor of √m to spare. It is below
    bfloat16's and float16's roundings up to some 16,000 and 2,000 terms.

    Args:
        found: What is tested.
        expected: What it ought to be.
        terms: As of `terms_of`, plus `FUNCTION` for each function that comes after.
        magnitude: What the bound is relative to, where that is not the largest number of
            ``expected``: a number, or an array for each of its numbers.
    """
    magnitude = _largest(expected) if magnitude is None else _numbers(magnitude)
    assert_within(
        found, expected, _float32(terms) * magnitude, why=f"float32 sums of {terms} terms"
    )


def near_float32(value: Any, *, terms: float, magnitude: float | None = None) -> Any:
    """What ``==`` a number (or numbers) within the bound of `assert_same_float32`."""
    magnitude = _largest(value if magnitude is None else magnitude)
    return pytest.approx(value, rel=0.0, abs=_float32(terms) * magnitude)


def assert_same_bfloat16(found: Any, expected: Any, *, layers: int) -> None:
    """A network whose layers compute in bfloat16, beside the same in float32.

    Each layer's output is rounded, which is off by at most u = 2⁻⁸ of itself, and sums are added
    in float32: u a layer of the largest magnitude in the array. The roundings of the weights, one
    of which is in each term, cancel over a sum.
    """
    bound = layers * UNIT_BFLOAT16 * _largest(expected)
    assert_within(found, expected, bound, why=f"{layers} layers in bfloat16")


def assert_same_training(found: nn.Module, expected: nn.Module, *, learning_rate: float) -> None:
    """A network trained twice by Adam, from the same seed, with sums in another order.

    Adam moves each weight by about the learning rate at each step, however small its gradient is:
    other pictures or other noise move all weights apart by that. Rounding alters a gradient by
    10⁻⁵ of itself, and turns the direction only of one that is 0 but for rounding. The root mean
    square of all weights' differences is below a tenth of the learning rate even if one weight in
    400 goes the other way.
    """
    weights = zip(found.state_dict().values(), expected.state_dict().values(), strict=True)
    differences = np.concatenate([(_numbers(a) - _numbers(b)).ravel() for a, b in weights])
    distance = np.sqrt(np.mean(differences**2))
    assert_within(distance, 0.0, learning_rate / 10, why="a tenth of a step")


def differ(found: Any, expected: Any) -> bool:
    """Whether two results are not the same: some number differs by more than rounding explains.

    Of float32 networks with as many terms as `assert_same_float32` takes: 1/500 of the largest
    magnitude.
    """
    found, expected = _numbers(found), _numbers(expected)
    bound = UNIT_BFLOAT16 / 2 * max(_largest(found), _largest(expected))
    return found.shape != expected.shape or not (np.abs(found - expected) <= bound).all()


# ---- float64


def assert_same_float64(found: Any, expected: Any, *, terms: float, magnitude: Any = None) -> None:
    """Two ways to compute a formula in float64, each number by itself.

    They may differ by 2·γ_m times the sum of the magnitudes of what is added, with m = ``terms``.

    Args:
        found: What is tested.
        expected: What it ought to be.
        terms: How many products are added, plus the roundings in each of them: 1 for an
            operation, `FUNCTION` for exp or log.
        magnitude: The sum of the magnitudes of what is added, where terms of both signs cancel; by
            default that of each expected number, which is right where all have one sign.
    """
    magnitude = np.abs(_numbers(expected)) if magnitude is None else _numbers(magnitude)
    bound = 2 * gamma(terms, UNIT_FLOAT64) * magnitude
    assert_within(found, expected, bound, why=f"float64 sums of {terms} terms")


def near_float64(value: Any, *, terms: float, magnitude: float | None = None) -> Any:
    """What ``==`` a number (or numbers) within the bound of `assert_same_float64`."""
    relative = 2 * gamma(terms, UNIT_FLOAT64)
    if magnitude is None:
        return pytest.approx(value, rel=relative, abs=0.0)
    return pytest.approx(value, rel=0.0, abs=relative * _largest(magnitude))


SCORE = 4 * FUNCTION
"""Roundings in one dimension's term of a score: an exp, a log, an expm1 or a sinh, and a handful of
operations, or the same in torch and SciPy, which go by sigma instead of log sigma²."""

LOG_2PI = float(np.log(2 * np.pi))


def score_rounding(dims: int, *log_vars: Any, items: int = 0) -> float:
    """By how much two ways to compute a score may differ, relative to what is added up.

    2·γ_m with m = n dimensions, `SCORE`, and the largest |log sigma²|: a logarithm that is off by
    u·|log sigma²|, as of sigma² + tau², or of a ratio of variances, makes the exp of it as much
    more wrong, relatively.

    Args:
        dims: n.
        log_vars: All log sigma² that enter; log tau² where there is a tolerance.
        items: How many densities are added to one, if any.
    """
    return 2 * gamma(dims + SCORE + items + sum(map(_largest, log_vars)), UNIT_FLOAT64)


def score_bound(expected: Any, *log_vars: Any, dims: int, items: int = 0) -> np.ndarray:
    """By how much a score in nats may differ from the expected one; as of `score_rounding`.

    What is added up is |score|, and what may cancel in it: log sigma² and log 2π a dimension.
    """
    added = np.abs(_numbers(expected)) + dims * (sum(map(_largest, log_vars)) + LOG_2PI)
    with np.errstate(invalid="ignore"):
        return score_rounding(dims, *log_vars, items=items) * added


def assert_same_scores(
    found: Any, expected: Any, *log_vars: Any, dims: int, items: int = 0
) -> None:
    """Log densities and divergences by two ways in float64: within `score_bound`.

    Some 10⁻¹⁴ of the score for ten dimensions and sigma as a VAE has them. Distances, whose terms
    all have one sign, have a smaller one: `score_rounding` times themselves.
    """
    bound = score_bound(expected, *log_vars, dims=dims, items=items)
    assert_within(found, expected, bound, why=f"scores of {dims} dimensions")


def near_score(value: float, *log_vars: Any, dims: int, items: int = 0) -> Any:
    """What ``==`` a score within the bound of `assert_same_scores`."""
    bound = float(score_bound(value, *log_vars, dims=dims, items=items))
    return pytest.approx(value, rel=0.0, abs=bound)


# ---- decimal numbers


def _unit(value: Any, decimals: int | None, digits: int | None) -> np.ndarray:
    """The unit of the last decimal, or of the last of so many significant digits."""
    value = np.abs(_numbers(value))
    if digits is not None:
        with np.errstate(divide="ignore"):
            decimals = digits - 1 - np.floor(np.log10(value))
    # Of binary numbers none is a decimal one: each is some units of float64 beside it.
    return 10.0 ** -_numbers(decimals) + 4 * UNIT_FLOAT64 * value


def assert_stated(
    found: Any, expected: Any, *, decimals: int | None = None, digits: int | None = None
) -> None:
    """What was rounded to be shown, to so many decimals or significant digits.

    Within a unit of the last: half of it is the rounding, and the other half is for what is
    rounded, which may come from float32 sums in another order.
    """
    shown = f"a unit of {decimals} decimals" if digits is None else f"a unit of {digits} digits"
    assert_within(found, expected, _unit(expected, decimals, digits), why=shown)


def near_stated(
    value: float, *, decimals: int | None = None, digits: int | None = None, numbers: int = 1
) -> Any:
    """What ``==`` a number that was rounded to be shown, or a sum of such ``numbers``."""
    unit = float(_unit(value, decimals, digits))
    return pytest.approx(value, rel=0.0, abs=numbers * unit)


# ---- pixels


def assert_same_levels(found: Any, expected: Any, *, levels: float = 1) -> None:
    """Pixels from 0 to 255, up to a level (or so many).

    Float32 numbers that differ in the last digits are rounded to the same level, except next to
    x.5, where they are rounded to two levels that are neighbours.
    """
    assert_within(found, expected, levels, why=f"{levels} levels of 255")


def assert_rounded_to_levels(found: Any, exact: Any, *, terms: float) -> None:
    """Pixels that are what a network gives, times 255, rounded to the nearest level.

    Half a level, and the bound of `assert_same_float32`.
    """
    bound = 0.5 + _float32(terms) * 255
    assert_within(found, exact, bound, why="half a level")


JPEG_LEVELS = 2
"""What a JPEG of quality 75 or better does to a flat colour. The mean of 8 × 8 pixels is rounded in
steps of 8/8 of a level in Y and 9/8 in Cb and Cr, so that these are off by 0.5 and 0.56; blue is
Y + 1.772 Cb, off by 1.5, and by 0.5 more as it is rounded."""


def near_levels(value: Any, *, levels: float = 1) -> Any:
    """What ``==`` a colour, each of its channels up to so many levels."""
    return pytest.approx(value, rel=0.0, abs=levels)


def near_squared_error(value: float, *, terms: float) -> Any:
    """What ``==`` the mean squared error of a network's picture, pixels in [0, 1].

    The picture is of whole levels, and a pixel within the bound of `assert_same_float32` of x.5 may
    be rounded to either of two: of pixels spread evenly a share of twice that, in levels. By the
    Cauchy–Schwarz inequality a level more or less in all pixels changes the mean of d² by at most
    2·√(mean of d²) levels, and a level squared.
    """
    level = 1 / 255
    share = min(1.0, 2 * 255 * _float32(terms))
    return pytest.approx(value, rel=0.0, abs=share * level * (2 * value**0.5 + level))


# ---- random draws

STANDARD_ERRORS = 5
"""A normal estimate is that far off once in 1.7 million draws. Seeds are fixed, so that a test that
passes goes on to pass; the number says that no luck was needed in the choice of the seed."""


def assert_sampled(found: Any, expected: Any, *, standard_error: Any) -> None:
    """A statistic of random draws: within five standard errors of what is drawn from.

    Of a mean of N draws the standard error is sigma/√N; of a standard deviation, if what is drawn
    is normal, sigma/√(2N); of log sigma², √(2/N); of a share p, √(p(1 - p)/N); of a p-quantile,
    √(p(1 - p)/N) by the density there.
    """
    bound = STANDARD_ERRORS * _numbers(standard_error)
    assert_within(found, expected, bound, why=f"{STANDARD_ERRORS} standard errors")


# ---- sketches


def _sketched(expected: Any, accuracy: float, smallest: float) -> np.ndarray:
    # Next to the edge of two buckets the rounding of a logarithm, of up to a thousand buckets'
    # number, says which of them it is.
    edge = 2 * gamma(1000, UNIT_FLOAT64)
    return (accuracy + edge) * np.abs(_numbers(expected)) + smallest


def assert_sketched(found: Any, expected: Any, *, accuracy: float, smallest: float) -> None:
    """What a sketch says, within the relative accuracy that it guarantees.

    Args:
        found: What it says.
        expected: The exact answer.
        accuracy: The guarantee, a; of a bucket's end, instead of its middle, 2a / (1 - a).
        smallest: Below which it takes numbers for 0.
    """
    why = f"an accuracy of {accuracy:.3g}"
    assert_within(found, expected, _sketched(expected, accuracy, smallest), why=why)


def near_sketched(value: float, *, accuracy: float, smallest: float) -> Any:
    """What ``==`` a number within the bound of `assert_sketched`."""
    return pytest.approx(value, rel=0.0, abs=float(_sketched(value, accuracy, smallest)))


# ---- optimisers

ROOT_FLOAT64 = UNIT_FLOAT64**0.5
"""√u = 10⁻⁸: what is left of float64's digits in the square root of a difference near 0, and how
well a minimum's place is known from its values."""


def assert_same_minimum(found: Any, expected: Any) -> None:
    """Where two optimisers end: they stop when the cost falls by less than √u, or can tell no more.

    Next to a minimum the cost rises with the square of the distance, so that its place is known to
    the square root of what the cost is known to: u^¼ = 10⁻⁴.
    """
    bound = ROOT_FLOAT64**0.5 * (1 + np.abs(_numbers(expected)))
    assert_within(found, expected, bound, why="the fourth root of float64's unit")


def near_shown(mu: Any) -> Any:
    """What a mean is after the page has rounded it to four decimals."""
    return pytest.approx(mu, abs=0.500001e-4)
