"""What a training has reached, packed and taken up again."""

from __future__ import annotations

import logging
import pickle
import re

import numpy as np
import pytest
import torch

from tests.support.two_colours import PLAN, SPEC, two_colours, with_changes
from vaeudf.images.spec import ImageSpec
from vaeudf.training.checkpoints import (
    CHECKPOINT,
    Reached,
    folder_checkpoints,
    training_key,
    unpack,
)
from vaeudf.training.elbo import Elbo

CPU = torch.device("cpu")


def reached():
    return Reached(
        history=[Elbo(-3.5, 2.0, 1.5, 0.1), Elbo(-3.0, 2.0, 1.0, 0.1)],
        weights={"a": torch.arange(3.0)},
        best={"a": torch.arange(3.0) + 1},
        optimizer={"state": {}, "param_groups": [{"lr": 0.1}]},
        schedule={"last_epoch": 2},
    )


def test_what_is_packed_is_what_is_unpacked():
    found = unpack(reached().pack("k"), "k", CPU, tell=True)
    assert found.history == reached().history
    assert found.weights["a"].tolist() == [0, 1, 2] and found.best["a"].tolist() == [1, 2, 3]
    assert (found.optimizer, found.schedule) == (reached().optimizer, reached().schedule)


class Runs:
    """A pickle that runs code when it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("tell", [True, False])
def test_what_is_not_of_this_training(tmp_path, caplog, tell):
    damaged = [b"", b"x" * 100, reached().pack("k")[:100], pickle.dumps(Runs(tmp_path / "ran"))]
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        for data in damaged:
            assert unpack(data, "k", CPU, tell=tell) is None
        assert unpack(reached().pack("other"), "k", CPU, tell=tell) is None
    *unreadable, other = caplog.messages or [None]
    assert len(unreadable) == (len(damaged) if tell else 0)
    assert all("cannot be read, so training starts anew" in line for line in unreadable)
    message = "the checkpoint is of other options or images; training starts anew."
    assert other == (message if tell else None)
    assert not (tmp_path / "ran").exists()


def test_the_key_is_of_the_plan_the_spec_and_the_pictures():
    pixels = two_colours(20)
    key = training_key(PLAN, SPEC, pixels)
    assert training_key(PLAN, SPEC, pixels.copy()) == key
    changed = pixels.copy()
    changed[3, 0, 0, 0] ^= 1
    others = [
        training_key(with_changes(epochs=3), SPEC, pixels),
        training_key(PLAN, ImageSpec(16, 16, resize="crop"), pixels),
        training_key(PLAN, SPEC, changed),
        training_key(PLAN, SPEC, np.ascontiguousarray(pixels[:-1])),
    ]
    assert len({key, *others}) == 5


def test_a_folder_is_made_when_there_is_something_to_keep(tmp_path):
    folder = tmp_path / "a" / "b"
    checkpoints = folder_checkpoints(str(folder))
    assert checkpoints.read() is None and not folder.exists()
    for data in (b"first", b"second"):
        checkpoints.write(data)
        assert checkpoints.read() == data
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_that_cannot_be_written_costs_no_training(tmp_path, caplog):
    (tmp_path / "file").touch()
    checkpoints = folder_checkpoints(str(tmp_path / "file" / "kept"))
    checkpoints.write(b"first")
    (message,) = caplog.messages
    path = re.escape(f"{tmp_path}/file/kept/{CHECKPOINT}")
    assert re.fullmatch(
        rf"the checkpoint could not be written to {path} \(.*\); training goes on, and writes one "
        r"again after the next epoch\.",
        message,
    )
