"""A table's health, as the jobs examine it: scanned, queried, and beside an older version."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.health.comparison import compare
from vaeudf.health.drift import Churn
from vaeudf.health.examine import examine
from vaeudf.health.findings import Comparison, Failures, Findings, Quarantine
from vaeudf.health.outliers import outliers
from vaeudf.health.probes import churn, hub_curve, nearest_others
from vaeudf.health.scan import scan
from vaeudf.schema import ITEM_ID, MESSAGE, MODEL_ID_KEY, REASON, RUN_ID_KEY
from vaeudf.spark.passes import TablePasses
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import exists, filesystem, spark_literal
from vaeudf.table.open import PosteriorTable
from vaeudf.table.runs import QUARANTINE, is_run_id, quarantine_folder

_OUTLIERS = 24
_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """How a table is examined.

    Attributes:
        hub_queries: z of each kind that are asked to find hubs.
        sample: Items that are asked for the nearest other item.
        tolerances: Tolerances to try, ascending.
        seed: Of the z and of the sample.
    """

    hub_queries: int = 1000
    sample: int = 1000
    tolerances: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
    seed: int = 0

    def find(
        self, spark: SparkSession, table: PosteriorTable, watch: Stopwatch, *, num_sampled: int = 0
    ) -> Findings:
        """Scan a table and query it; it is compared with no other.

        Args:
            spark: The session.
            table: With items.
            watch: Notes the seconds of each phase.
            num_sampled: How many items the census has in its sample, at least.
        """
        with watch.phase("scan"):
            passes = TablePasses(spark, table)
            census, duplicates = scan(
                passes, num_sampled=max(self.sample, num_sampled), seed=self.seed
            )
            health = examine(census)
        with watch.phase("hubs"):
            hubs = hub_curve(table, self.tolerances, count=self.hub_queries, seed=self.seed)
        with watch.phase("neighbours"):
            neighbours = nearest_others(table, census.sample.first(self.sample))
        with watch.phase("outliers"):
            alone = outliers(passes, census.farthest, num_items=table.num_items, most=_OUTLIERS)
        return Findings(
            uri=table.uri,
            version=table.version,
            model_id=table.provenance.get(MODEL_ID_KEY),
            census=census,
            health=health,
            hubs=hubs,
            duplicates=duplicates,
            neighbours=tuple(neighbours),
            outliers=tuple(alone),
            quarantine=None,
            comparison=None,
        )

    def compare(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        findings: Findings,
        old: PosteriorTable,
        *,
        across: bool,
    ) -> Comparison:
        """Compare a table with an older one.

        Args:
            spark: The session.
            table: The table.
            findings: What was found in it.
            old: The older one, with items.
            across: Whether the two are of different models.
        """
        drift = compare(spark, table, old, posteriors=not across)
        overlaps: list[Churn] = []
        old_health = None
        if across:
            old_census, _ = scan(TablePasses(spark, old), num_sampled=0, seed=self.seed)
            old_health = examine(old_census)
        else:
            sample = findings.census.sample.first(self.sample)
            overlaps = churn(table, old, sample, count=self.hub_queries, seed=self.seed)
        return Comparison(
            uri=old.uri,
            version=old.version,
            model_id=old.provenance.get(MODEL_ID_KEY),
            items=old.num_items,
            drift=drift,
            churn=tuple(overlaps),
            health=old_health,
        )


def check_models(table: PosteriorTable, old: PosteriorTable, *, cross_model: bool) -> bool:
    """Return whether the two are of different models.

    Plain Parquet does not say which model it is of: it counts as the same if the latent_dim is.

    Raises:
        InputError: They are, and ``cross_model`` does not allow it.
    """
    ours, theirs = (one.provenance.get(MODEL_ID_KEY) for one in (table, old))
    same_model = ours is None or theirs is None or ours == theirs
    if same_model and table.latent_dim == old.latent_dim:
        return False
    if not cross_model:
        raise InputError(
            f"{_named(table)} is of {_of_model(table)}, but {_named(old)}, to compare with, is of "
            f"{_of_model(old)}: their posteriors mean different things. Compare versions of one "
            "model, or leave out what is then meaningless with --cross-model."
        )
    return True


def _named(table: PosteriorTable) -> str:
    return table.uri if table.version is None else f"{table.uri} version {table.version}"


def _of_model(table: PosteriorTable) -> str:
    model_id = table.provenance.get(MODEL_ID_KEY)
    known = "an unknown model" if model_id is None else f"model {model_id[:12]}…"
    return f"{known} with latent_dim {table.latent_dim}"


def read_quarantine(spark: SparkSession, table: PosteriorTable) -> Quarantine | None:
    """Return what could not be encoded: for this version, if it says which run wrote it."""
    if table.version is None:
        return None
    run_id = table.provenance.get(RUN_ID_KEY)
    folder = None if run_id is None else quarantine_folder(table.uri, run_id)
    if run_id is None:
        folder = _last_quarantine(table.uri)
    if folder is None or not exists(folder):
        # A run that quarantines nothing leaves no folder; without a run nothing is known.
        return None if run_id is None else Quarantine(failures=(), of_version=True)
    rows = spark.read.parquet(spark_literal(folder))
    counts = rows.groupBy(REASON).count().orderBy(F.desc("count"), REASON).collect()
    failures = []
    for row in counts:
        own = rows.where(F.col(REASON) == row[REASON]).orderBy(ITEM_ID).limit(_EXAMPLES)
        examples = tuple((one[ITEM_ID], one[MESSAGE] or "") for one in own.collect())
        failures.append(Failures(reason=row[REASON], items=row["count"], examples=examples))
    return Quarantine(failures=tuple(failures), of_version=run_id is not None)


def has_quarantine(table: PosteriorTable) -> bool:
    """Whether any run has left a quarantine beside a table."""
    return table.version is not None and _last_quarantine(table.uri) is not None


def _last_quarantine(uri: str) -> str | None:
    """Return the quarantine folder of the last run that has left one; None if none has."""
    system, inner = filesystem(posixpath.join(uri, QUARANTINE))
    entries = system.get_file_info(fs.FileSelector(inner, allow_not_found=True))
    runs = [entry.base_name.removeprefix("run_id=") for entry in entries]
    runs = sorted(filter(is_run_id, runs))
    return quarantine_folder(uri, runs[-1]) if runs else None
