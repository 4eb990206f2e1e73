"""What a clustering's last line on stdout says."""

from __future__ import annotations

import logging
import math

from vaeudf.clustering.api import Clustering
from vaeudf.clustering.lloyd import Fitted
from vaeudf.schema import MODEL_ID_KEY
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary

log = logging.getLogger(__name__)


def facts_of_fit(table: PosteriorTable, fitted: Fitted, best: Clustering) -> Summary:
    """Return what is said of clusters that were fitted."""
    trial = best.trial
    if not trial.converged:
        log.info(
            "stopped after %d iterations, before the objective came to rest; --max-iterations "
            "allows more.",
            len(trial.objectives),
        )
    return {
        **facts_of_clusters(table, best),
        "iterations": len(trial.objectives),
        "restarts": fitted.plan.restarts,
        "seed": fitted.plan.seed,
        "converged": trial.converged,
    }


def facts_of_clusters(table: PosteriorTable, best: Clustering) -> Summary:
    """Return what is said of all clusters."""
    sizes = [cluster.size for cluster in best.clusters]
    empty = sum(size == 0 for size in sizes)
    if empty:
        log.info("%d of the %d clusters have no item.", empty, best.k)
    return {
        "items": table.num_items,
        "k": best.k,
        "divergence": best.divergence.name,
        "objective": best.trial.objective,
        "silhouette": None if math.isnan(best.silhouette) else round(best.silhouette, 6),
        "largest": sizes[0],
        "smallest": sizes[-1],
        "table": table.uri,
        "version": table.version,
        "model_id": table.provenance.get(MODEL_ID_KEY),
    }
