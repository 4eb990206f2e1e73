"""The share of queries that one item answers, and the tolerance that evens it out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.latent_space import curve
from vaeudf.health.hubs import hub_shares


def test_the_recommended_tolerance():
    assert curve([[0.4, 0.4], [0.04, 0.4], [0.03, 0.4]], [0.01, 0.4]).recommended == 0.1
    assert curve([[0.4, 0.01], [0.3, 0.01], [0.2, 0.01]], [0.01, 0.01]).recommended is None
    assert curve([[0.05, 0.02], [0.3, 0.3], [0.2, 0.1]], [0.01, 0.01]).recommended == 0.0
    assert curve([[0.4], [0.19], [0.1]], [0.01], items=100).recommended == 0.1
    few = curve([[0.9], [0.9], [0.9]], [0.9], items=20)
    assert few.recommended is None and few.undecided


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=30))
def test_hub_shares(hits):
    found = hub_shares(("a", "b"), [kind for kind, _ in hits], [str(i) for _, i in hits], 10)
    for kind, share in zip("ab", found, strict=True):
        counts = [hits.count((kind, item)) for item in range(4)]
        assert share == max(counts) / 10
