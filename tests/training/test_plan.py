"""The options of a training, and what it holds out."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.support.two_colours import with_changes
from vaeudf.errors import InputError
from vaeudf.training.plan import check_share


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_dim": 0}, "latent_dim is 0; expected more than 0."),
        ({"epochs": 0}, "epochs is 0; expected more than 0."),
        ({"batch_size": -1}, "batch_size is -1; expected more than 0."),
        ({"base_channels": 0}, "base_channels is 0; expected more than 0."),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected more than 0."),
        ({"learning_rate": math.nan}, "learning_rate is nan; expected more than 0."),
        ({"learning_rate": math.inf}, "learning_rate is inf; expected more than 0."),
        ({"beta": -1.0}, "beta is -1.0; expected 0 or more."),
        ({"beta": math.nan}, "beta is nan; expected 0 or more."),
        ({"beta": math.inf}, "beta is inf; expected 0 or more."),
        ({"held_out": 0.0}, "held_out is 0.0; expected a fraction between 0 and 1."),
        ({"held_out": 1.0}, "held_out is 1.0; expected a fraction between 0 and 1."),
        ({"held_out": math.nan}, "held_out is nan; expected a fraction between 0 and 1."),
        ({"seed": -1}, "seed is -1; expected 0 or more, below 2^63."),
        ({"seed": 2**63}, f"seed is {2**63}; expected 0 or more, below 2^63."),
    ],
)
def test_plans_that_cannot_be_followed(change, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        with_changes(**change)


def test_every_image_is_held_out_or_trained_on():
    held_out, rows = with_changes(held_out=0.2).split(100)
    assert (len(held_out), len(rows)) == (20, 80)
    assert sorted([*held_out, *rows]) == list(range(100))
    again, _ = with_changes(held_out=0.2, epochs=3).split(100)
    other, _ = with_changes(held_out=0.2, seed=1).split(100)
    assert (again == held_out).all() and not np.array_equal(other, held_out)


@pytest.mark.parametrize(
    ("images", "plan", "needed"),
    [
        (0, {}, 18),
        (17, {}, 18),
        (10, {"batch_size": 100, "held_out": 0.5}, 200),
        (1, {"batch_size": 1}, 2),
        (3, {"batch_size": 2, "held_out": 0.9}, 16),
    ],
)
def test_too_few_images(images, plan, needed):
    for found in (images, needed - 1):
        message = (
            f"{found} images are too few to train on; expected at least {needed}, "
            "or a smaller batch_size."
        )
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            with_changes(**plan).split(found)
    held_out, rows = with_changes(**plan).split(needed)
    assert len(rows) >= with_changes(**plan).batch_size and len(held_out) >= 1


@pytest.mark.parametrize(("batch", "processes"), [(16, 3), (5, 2), (8, 0), (8, 16)])
def test_processes_that_cannot_share_a_batch(batch, processes):
    with pytest.raises(InputError, match=rf"num_processes is {processes}; .* batch size, {batch},"):
        check_share(batch, processes)
    check_share(batch, 1)
