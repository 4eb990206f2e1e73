"""``query_topk --rerank picture``: the best candidates, ranked again by the decoder."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, SparkSession

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import check_k
from vaeudf.query.blends import Blends
from vaeudf.query.latents import Latents
from vaeudf.schema import CANDIDATE_RANK, LOG_P_X_GIVEN_Z, PICTURE_ERROR
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary, check_goes_with, flag_of
from vaeudf.workflows.pictures import RERANK, check_pictures, find_pictures, load_decoder

if TYPE_CHECKING:
    from vaeudf.catalog.source import CatalogSource
    from vaeudf.decoding.rerank import Reranked
    from vaeudf.model.bundle import Bundle
    from vaeudf.model.likelihood import Likelihood

log = logging.getLogger(__name__)

_ADDED = (LOG_P_X_GIVEN_Z, PICTURE_ERROR, CANDIDATE_RANK)
# What has other hits, or makes one query of several z.
_NOT_WITH_RERANK = {
    "all": "it returns every item that reaches --min-score, unranked",
    "diversify": "both choose from --candidates",
    "blend": "p(x|z) is of one z",
    "unlike": "p(x|z) is of one z",
    "ignore_dims": "a picture needs a number in each dimension",
}


def check_rerank(options: Any) -> None:
    """Refuse what does not go with --rerank, and what only goes with it.

    Args:
        options: Those of query_topk.

    Raises:
        InputError: There is something.
    """
    if options.rerank is None:
        check_goes_with(options, "rerank", ("likelihood",))
        return
    if options.rerank != "picture":
        raise InputError(f"rerank is {options.rerank!r}; expected picture.")
    for name, reason in _NOT_WITH_RERANK.items():
        if getattr(options, name) not in (None, False):
            raise InputError(f"{flag_of(name)} does not go with {RERANK.flag}: {reason}.")
    for name in options.columns or ():
        if name.lower() in _ADDED:
            raise InputError(f"column {name!r} is in the result already; leave it out.")
    likelihood_said(options)


def check_candidates(options: Any) -> None:
    """Check the number of candidates, before it stands for k in what is asked of the search.

    Raises:
        InputError: There is one, and nothing is chosen from them; or it is below k, or k below 1.
    """
    if options.rerank is None:
        if options.candidates is not None and options.diversify is None:
            raise InputError("candidates goes with --rerank or --diversify; name one of them, too.")
        return
    if options.num_candidates < check_k(options.num_hits):
        raise InputError(
            f"candidates is {options.num_candidates}, and k is {options.num_hits}; expected at "
            "least as many candidates, from which the k best are chosen."
        )


def likelihood_said(options: Any) -> Likelihood | None:
    """Return how the decoder's output is read, if the options say so.

    Raises:
        InputError: They say something else.
    """
    from vaeudf.model.likelihood import parse_likelihood

    return None if options.likelihood is None else parse_likelihood(options.likelihood)


def check_points(latents: Latents) -> None:
    """Check that a picture belongs to each query.

    Raises:
        InputError: One is a blend, or leaves a dimension open.
    """
    if isinstance(latents, Blends):
        raise InputError(f"the queries are blends, and {RERANK.flag} needs one z for each.")
    latents.check_closed()


@dataclass(frozen=True)
class Reranking:
    """What hits are ranked again with.

    Attributes:
        bundle: The model that decodes z.
        likelihood: How its output is read.
        catalog: Where the pictures are, as the options say.
        uses_kept_pixels: Whether they come from the table instead.
        k: How many hits each query is to have.
        candidates: Of how many they are chosen.
    """

    bundle: Bundle
    likelihood: Likelihood
    catalog: str | None
    uses_kept_pixels: bool
    k: int
    candidates: int

    def plan(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        hits: DataFrame,
        latents: Latents,
        frames: ExitStack,
    ) -> Reranked:
        """Return the hits ranked again; the pictures are read when they are evaluated.

        Args:
            spark: The session.
            table: What was searched.
            hits: The candidates.
            latents: What was asked.
            frames: Many candidates are kept here, for they would be searched for twice.

        Raises:
            InputError: The catalog cannot be read.
        """
        from vaeudf.decoding.rerank import plan_rerank

        catalog: CatalogSource | PosteriorTable = table
        if not self.uses_kept_pixels:
            catalog = find_pictures(spark, table, self.catalog, use=RERANK)
        return plan_rerank(
            hits,
            self.bundle,
            catalog,
            latents,
            self.k,
            likelihood=self.likelihood,
            at_most=len(latents) * self.candidates,
            frames=frames,
        )

    def told(self, done: Reranked) -> Summary:
        """Return what the summary says of it, once the hits were evaluated."""
        pictures, unreadable = done.pictures, done.unreadable
        if unreadable:
            log.info(
                "%d of the %d candidates' pictures could not be read; these keep their ranks.",
                unreadable,
                pictures,
            )
        return {
            "rerank": "picture",
            "candidates": self.candidates,
            "likelihood": str(self.likelihood),
            "pictures_read": pictures - unreadable,
            "pictures_unreadable": unreadable,
        }


def prepare_rerank(options: Any, table: PosteriorTable) -> Reranking | None:
    """Return what hits are ranked again with, before Spark starts; None if they are not.

    Raises:
        InputError: The catalog is not there.
        BundleError: The model has no decoder, or does not say how likely a picture is given z.
    """
    if options.rerank is None:
        return None
    bundle = load_decoder(
        table, options.model, options.catalog, trust_model=options.trust_model, use=RERANK
    )
    from vaeudf.decoding.picture_sources import keeps_all_pixels
    from vaeudf.decoding.rerank import likelihood_of

    likelihood = likelihood_of(bundle, likelihood_said(options))
    kept = options.catalog is None and keeps_all_pixels(table)
    if not kept:
        check_pictures(table, options.catalog, use=RERANK)
    return Reranking(
        bundle, likelihood, options.catalog, kept, options.num_hits, options.num_candidates
    )
