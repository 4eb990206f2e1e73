"""The sentences about a latent space and about an inspection's findings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.findings import agreement, findings, near
from tests.support.latent_space import census_of, curve, latent_space
from vaeudf.health.agreement_wording import agreement_warnings, truths_sentence
from vaeudf.health.examine import examine
from vaeudf.health.wording import (
    hub_warnings,
    latent_space_warnings,
    listed,
    summary_sentences,
    warning_sentences,
)


def test_warnings_say_what_to_do():
    mu, log_var = latent_space()
    health = examine(census_of(mu, log_var))
    collapsed, stuck, clamped, mismatch, together = latent_space_warnings(health)
    assert collapsed == (
        "z2 is collapsed: its slider changes nothing. Train with fewer dimensions, or with a "
        "smaller beta (or warm it up more slowly) if the pictures lack detail."
    )
    assert stuck.startswith("z3 is the same for all items, but not as in the prior: this costs 2.")
    assert clamped.startswith("Sigma is at its floor in z4: in z4, ")
    assert "have exactly the least log_var, -3.2." in clamped
    assert " nats from the prior N(0, I): z drawn from the prior often lie where" in mismatch
    assert together.startswith("z0 and z1 (+0.8")
    rng = np.random.default_rng(0)
    sound = examine(census_of(rng.normal(size=(2_000, 2)), rng.normal(-4, 0.2, size=(2_000, 2))))
    assert latent_space_warnings(sound) == []
    few = examine(census_of([[0.5]], [[-2.0]]))
    assert latent_space_warnings(few)[0] == (
        "There is only 1 item: what follows says little about the model. Encode more of the "
        "catalog."
    )


def test_a_latent_space_of_small_scale_is_not_called_dead():
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(0, 0.09, (2000, 2)), rng.normal(-9.2, 0.1, (2000, 2))
    mu[:, 1] = 0.0
    health = examine(census_of(mu, log_var))
    assert [one.number for one in health.collapsed] == [0, 1]
    assert [one.number for one in health.squeezed] == [0]
    stuck, squeezed = latent_space_warnings(health)[:2]
    assert stuck.startswith("z1 is the same for all items, but not as in the prior: this costs 4.")
    assert squeezed.startswith("In z0 mu varies by less than 0.01, the usual threshold, and yet by")


def test_copies_of_an_extreme_item_are_not_called_a_clamp():
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(2000, 2)), rng.normal(-3, 0.3, (2000, 2))
    mu[:60], log_var[:60] = 0.5, -4.5
    health = examine(census_of(mu, log_var))
    (clamped,) = latent_space_warnings(health)
    assert "log_var, -4.5. The encoder's variance is clamped there" in clamped
    assert latent_space_warnings(health, copies=59) == [clamped]
    (copied,) = latent_space_warnings(health, copies=60)
    assert "log_var, -4.5. Where they are copies of one picture, see the near-duplic" in copied


def test_which_way_the_catalog_misses_the_prior():
    rng = np.random.default_rng(0)
    for scale, shift, words in (
        (3.0, 0.0, "and wider: z drawn from the prior show the middle of the catalog only."),
        (0.05, 0.0, ": z drawn from the prior often lie where no item is."),
        (1.0, 4.0, ": z drawn from the prior often lie where no item is."),
    ):
        mu = rng.normal(shift, scale, (5000, 2))
        health = examine(census_of(mu, np.full((5000, 2), -6.0)))
        found = [text for text in latent_space_warnings(health) if "from the prior N(0, I)" in text]
        assert len(found) == 1 and words in found[0]
        assert f"is at least {health.aggregate_kl:.2f} nats" in found[0]


def test_one_sigma_for_all_items():
    normal = np.random.default_rng(0).normal(size=(500, 2))
    (fixed,) = latent_space_warnings(examine(census_of(normal, np.full((500, 2), -4.0))))
    assert fixed.startswith("Sigma is the same for all items in z0 and z1: the encoder does not")


def test_numbers_that_cannot_be_added_up():
    huge = examine(census_of(np.full((3, 1), 1e30), np.full((3, 1), 3e3)))
    assert any("too large or too small to add up" in text for text in latent_space_warnings(huge))


def test_many_dimensions_are_not_all_named():
    wide = examine(census_of(np.ones((2, 512)), np.zeros((2, 512)))).dimensions
    assert listed(wide).endswith("z9, z10 and 501 more dimensions")
    assert listed(wide[:12]).endswith("z10 and z11")
    assert listed(wide[3:4]) == "z3"


def test_warnings_about_hubs():
    few = curve([[0.9], [0.9], [0.9]], [0.9], items=20)
    assert hub_warnings(few) == [
        "There are too few different items, or too few z were asked, to tell whether one item "
        "answers everything."
    ]
    assert hub_warnings(curve([[0.4, 0.01], [0.3, 0.01], [0.2, 0.01]], [0.01, 0.01])) == [
        "With every tolerance tried, up to 1, one single item is among the top 10 of at least 20% "
        "of the z from a, of which 5% would be even: try others with --taus."
    ]
    assert hub_warnings(curve([[0.02, 0.9], [0.5, 0.04], [0.5, 0.04]], [0.01, 0.01])) == [
        "No tolerance that was tried, up to 1, is even for all kinds of z at once: choose by the "
        "curve of the sliders that people have, or try others with --taus."
    ]
    decided = curve([[0.4], [0.04], [0.04]], [0.01])
    assert hub_warnings(decided) == [
        "Only 100 z of each kind were asked: a share of 5% is known to ± 2.2%, and the recommended "
        "tolerance is rather too small. --hub-queries 1000 is surer."
    ]
    assert hub_warnings(replace(decided, queries=200)) == []


@pytest.mark.parametrize("recommended", [0.0, None])
def test_in_short_about_tolerance(recommended):
    shares = [[0.02], [0.02], [0.02]] if recommended == 0.0 else [[0.4], [0.4], [0.4]]
    found = findings(hubs=curve(shares, [0.01]))
    sentence = "Ask without a tolerance: no item crowds out the others."
    sentence_in = sentence in summary_sentences(found)
    assert sentence_in == (recommended == 0.0)
    assert found.hubs.recommended == recommended
    assert any("With every tolerance tried" in one for one in warning_sentences(found)) == (
        not sentence_in
    )


def test_in_short_when_zero_was_not_tried():
    found = findings(hubs=curve([[0.02], [0.02]], [0.01], taus=(0.1, 0.2)))
    assert "Ask with --tolerance 0.1, the smallest that was tried: no item crowds" in " ".join(
        summary_sentences(found)
    )


def test_items_that_are_all_alike():
    alike = curve([[1.0], [1.0], [1.0]], [1.0])
    dead = findings(np.zeros((200, 3)), np.zeros((200, 3)), comparison=None, hubs=alike)
    assert summary_sentences(dead)[0].startswith(
        "No dimension is active: all items look the same to"
    )
    assert not any("tolerance" in sentence for sentence in summary_sentences(dead))
    assert [one.split(":")[0] for one in warning_sentences(dead)] == [
        "z0, z1 and z2 are collapsed",
        "There are too few different items, or too few z were asked, to tell whether one item "
        "answers everything.",
    ]


def sentences_on(found, **changed):
    return " ".join(summary_sentences(findings(agreement=found, **changed)))


def test_in_short_about_pictures():
    text = sentences_on(agreement())
    assert (
        "From --tolerance 0.1 on, no item crowds out the others. Among 2,000 items, a sample of "
        "all 3,000, of the 10 pictures nearest to what z decodes to, the 10 hits contain 8 to 41% "
        "by the literal rule, 27 to 44% with --tolerance 0.2, and 96% once the best 100 are ranked "
        "again by p(x|z), depending on where z is. Ask with --tolerance 0.2 --rerank picture "
        "--candidates 100: these are 5.0% of the items compared. Among all 3,000 the "
        "same agreement takes more candidates, up to the same share, 150."
    ) in text
    assert "Ask with --tolerance 0.1" not in text  # one recommendation, not two
    whole = sentences_on(agreement(items=2_997))
    assert whole.count("Ask with") == 1 and "takes more candidates" not in whole
    assert "Among all 2,997 items whose pictures can be read, of the 10" in whole
    even = sentences_on(agreement(), hubs=curve([[0.02], [0.02], [0.02]], [0.01]))
    assert "Even without a tolerance, no item crowds out the others." in even
    literal = sentences_on(agreement(best_tau=0))
    assert "by the literal rule, and 96% once the best 100 are ranked again" in literal
    assert "Ask with --rerank picture --candidates 100:" in literal


def test_warnings_about_pictures():
    (unreadable,) = agreement_warnings(agreement())
    assert unreadable == (
        "3 of 2,003 sampled items have no picture that can be read; they are left out of the "
        "comparison of hits with pictures."
    )
    (unreadable,) = agreement_warnings(agreement(unreadable=1))
    assert "1 of 2,001 sampled items has no picture that can be read; it is left out" in unreadable
    assert agreement_warnings(agreement(unreadable=0)) == []
    (uneven,) = agreement_warnings(agreement(unreadable=0, even=(False,) * 3))
    assert uneven == (
        "With every tolerance tried some item crowds out the others; 0.2 is the one whose hits "
        "agree best with the pictures, all the same."
    )
    good = agreement().error
    poor = replace(good, reranked=near(0.8 * good.reranked.mean))
    (far,) = agreement_warnings(agreement(unreadable=0, error=poor))
    assert far == (
        "Even the best 200 candidates of 2,000 do not reach 90%: of z from near items, hits ranked "
        "again have 79% of the nearest pictures. The encoder's posterior and the decoder's "
        "pictures are far apart there: stay within the slider ranges, or train longer."
    )


def test_whether_the_two_measures_agree():
    assert truths_sentence(agreement()) == (
        "Of the 10 pictures nearest by squared error, 30 to 50% are among the 10 nearest by "
        "structure, least for z from sliders ±3. They often mean different pictures: what is best "
        "by one is not best by the other."
    )
    alike = truths_sentence(agreement(truths=near([0.8] * 4)))
    assert "80% are among the 10" in alike and "They mostly mean the same pictures." in alike
