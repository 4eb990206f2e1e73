from __future__ import annotations

import re

import pytest

from vaeudf.errors import InputError
from vaeudf.health.gate import Condition

RECORD = {
    "items": 40,
    "rate": 12.5,
    "collapsed": [3, 7],
    "recommended": None,
    "warnings": [],
    "table": "posteriors",
    "comparison": {"kl_quantiles": {"0.9": 1.0, "0.99": 2.5}},
    "taus": [{"tau": 0, "shares": {"prior": 0.2}}],
    "flagged": True,
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("items > 39", "items is 40 (--fail-on 'items > 39')."),
        ("items>39.5", "items is 40 (--fail-on 'items > 39.5')."),
        ("items > 40", None),
        ("items >= 40", "items is 40 (--fail-on 'items >= 40')."),
        ("rate < 12.5", None),
        ("rate <= 12.5", "rate is 12.5 (--fail-on 'rate <= 12.5')."),
        ("rate != 12.5", None),
        ("rate == 1.25e1", "rate is 12.5 (--fail-on 'rate == 12.5')."),
        (" rate  <  13 ", "rate is 12.5 (--fail-on 'rate < 13')."),
        ("collapsed > 1", "collapsed is 2 (--fail-on 'collapsed > 1')."),
        ("warnings > 0", None),
        ("collapsed.1 > 5", "collapsed.1 is 7 (--fail-on 'collapsed.1 > 5')."),
        (
            "comparison.kl_quantiles.0.99 > 2",
            "comparison.kl_quantiles.0.99 is 2.5 (--fail-on 'comparison.kl_quantiles.0.99 > 2').",
        ),
        ("comparison.kl_quantiles.0.9 > 2", None),
        (
            "taus.0.shares.prior > 0.1",
            "taus.0.shares.prior is 0.2 (--fail-on 'taus.0.shares.prior > 0.1').",
        ),
        ("flagged == 1", "flagged is 1 (--fail-on 'flagged == 1')."),
        ("recommended > 1", "recommended is not known here (--fail-on 'recommended > 1')."),
    ],
)
def test_conditions(text, reason):
    assert Condition.parse(text, "fail-on").reason_in(RECORD) == reason


@pytest.mark.parametrize(
    "text", ["", "items", "items >", "> 3", "items > many", "items > nan", "items = 3", "a b > 1"]
)
def test_what_is_no_condition(text):
    message = (
        f"fail-on is {text!r}; expected a number of health.json, one of >= <= > < == !=, and a "
        'limit, such as "hubs.taus.0.shares.prior > 0.1".'
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Condition.parse(text, "fail-on")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("item", "items"),
        ("table", "rate"),
        ("comparison", "comparison.kl_quantiles.0.9"),
        ("taus.1.shares.prior", "taus.0.shares.prior"),
        ("items.0", "items"),
    ],
)
def test_numbers_that_are_not_there(path, near):
    with pytest.raises(InputError) as error:
        Condition.parse(f"{path} > 0", "fail-on").reason_in(RECORD)
    text = str(error.value)
    assert text.startswith(f"fail-on names {path}, which is no number of this health.json. The ")
    assert near in text
