"""Whether a model takes JPEGs decoded at the size that it needs, or in full."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from vaeudf.images.spec import ImageSpec, is_resized_first
from vaeudf.model.export.draft_effect import MOST_SIGMAS, DraftEffect
from vaeudf.model.export.probe import Probe
from vaeudf.workflows.option_groups import JpegDraft

log = logging.getLogger(__name__)


def drafts_when_trained(spec: ImageSpec) -> bool:
    """Whether a model that is trained here should get JPEGs at the size that it needs.

    Not where the filter takes some pixels of the whole picture and passes over the others: these
    are what somebody has asked for.
    """
    return is_resized_first(spec.resize) and spec.antialias and spec.interpolation != "nearest"


def choose_draft(probe: Probe, drafted: NDArray[np.uint8], asked: JpegDraft) -> None:
    """Measure what drafts change for a model that was trained elsewhere, and tell it.

    If they are asked for, or change little, the model gets them from now on.

    Args:
        probe: The model, tried on the sample decoded in full; its variance is known.
        drafted: The same pictures decoded at the size that is needed, shape (N, H, W, C).
        asked: ``auto`` or ``on``.
    """
    effect = probe.draft_effect(drafted)
    if effect is not None:
        _tell(effect, asked)
    if asked == "on" or (effect is not None and effect.is_small):
        probe.use_drafted(drafted)


def _tell(effect: DraftEffect, asked: JpegDraft) -> None:
    median, most = effect.mu
    small = f"{most:.2g} is below {MOST_SIGMAS}"
    chosen = {
        ("auto", True): f"The bundle has them decoded so, because {small}; --jpeg-draft off "
        "decodes in full, as in its training.",
        ("auto", False): f"The bundle has them decoded in full, because {most:.2g} is not below "
        f"{MOST_SIGMAS}; --jpeg-draft on decodes faster.",
        ("on", True): f"{small[:1].upper()}{small[1:]}, so that this is recommended.",
        ("on", False): "",
    }[asked, effect.is_small]
    kept = (
        ""
        if effect.kept is None
        else f" Of the {effect.hits} hits of each picture's mu, {effect.kept:.2f} stay."
    )
    log.info(
        "%d of %d pictures are JPEGs of at least four times the model's size. Decoded at a half to "
        "an eighth of theirs, which is faster, mu moves by %.2g sigma (median) and %.2g (99 %%), "
        "log_var by %.2g and %.2g.%s%s",
        *(effect.pictures, effect.of, median, most, *effect.log_var),
        kept,
        f" {chosen}" if chosen else "",
    )
    if asked == "on" and not effect.is_small:
        log.warning(
            "warning: with --jpeg-draft on, mu moves by %.2g sigma at 99 %%; expected less than "
            "%s. Was the model trained on pictures decoded so? Else say --jpeg-draft off.",
            *(most, MOST_SIGMAS),
        )
