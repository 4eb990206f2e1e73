"""How likely a picture is: what a person types, and what a manifest holds."""

from __future__ import annotations

import math

import pytest

from vaeudf.errors import BundleError, InputError
from vaeudf.model.likelihood import (
    BernoulliPixels,
    GaussianPixels,
    from_dict,
    parse_likelihood,
    to_dict,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bernoulli", BernoulliPixels()),
        (" bernoulli ", BernoulliPixels()),
        ("gaussian:0.0123", GaussianPixels(0.0123)),
        ("gaussian: 1e-3", GaussianPixels(0.001)),
        ("gaussian:1", GaussianPixels(1.0)),
    ],
)
def test_what_a_person_types(text, expected):
    found = parse_likelihood(text)
    assert found == expected and parse_likelihood(str(found)) == expected
    assert from_dict(to_dict(found)) == expected


@pytest.mark.parametrize("number", ["", "0", "-0.1", "nan", "inf", "wide", "0.1:0.2", "1e400"])
def test_a_variance_that_is_none(number):
    with pytest.raises(InputError) as caught:
        parse_likelihood(f"gaussian:{number}")
    assert str(caught.value) == (
        f"likelihood is 'gaussian:{number}'; expected a finite variance above 0, of levels in "
        "[0, 1], such as gaussian:0.0123."
    )


@pytest.mark.parametrize("text", ["", "gaussian", "laplace", "bernoulli:0.5", "Gaussian:1", "mse"])
def test_what_is_no_likelihood(text):
    with pytest.raises(InputError) as caught:
        parse_likelihood(text)
    assert str(caught.value) == (
        f"likelihood is {text!r}; expected gaussian:VARIANCE, such as gaussian:0.0123, or "
        "bernoulli."
    )


def test_a_likelihood_made_in_python():
    with pytest.raises(BundleError, match=r"^the variance of a gaussian likelihood is nan; expect"):
        GaussianPixels(math.nan)
    assert to_dict(GaussianPixels(0.5)) == {"kind": "gaussian", "variance": 0.5}
    assert to_dict(BernoulliPixels()) == {"kind": "bernoulli"}
