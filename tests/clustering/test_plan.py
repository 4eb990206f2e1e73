"""Plans that make no sense are refused."""

from __future__ import annotations

import pytest

from vaeudf.clustering.divergences import KL
from vaeudf.clustering.plan import Plan
from vaeudf.errors import InputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_clusters": (0,)}, "k is 0; expected at least 1."),
        ({"num_clusters": (3, -2)}, "k is -2; expected at least 1."),
        ({"restarts": 0}, "restarts is 0; expected at least 1."),
        ({"max_iterations": 0}, "max-iterations is 0; expected at least 1."),
        (
            {"min_improvement": 1.0},
            "min-improvement is 1.0; expected a fraction, at least 0 and below 1.",
        ),
        (
            {"min_improvement": float("nan")},
            "min-improvement is nan; expected a fraction, at least 0 and below 1.",
        ),
        ({"seed": -1}, "seed is -1; expected 0 or more."),
    ],
)
def test_plans_that_make_no_sense(change, message):
    with pytest.raises(InputError) as error:
        Plan(**{"divergence": KL, "num_clusters": (3,), **change})
    assert message in str(error.value)
