"""Properties that every session of the jobs has, wherever its driver is."""

from __future__ import annotations

DEFAULTS = {
    "spark.sql.session.timeZone": "UTC",
    # Each small file counts as this much work when Spark cuts a folder into tasks. With the
    # default of 4 MB, 3,000 thumbnails become 100 tasks whose start-up costs more than their work.
    "spark.sql.files.openCostInBytes": "65536",
    # What is kept has as few partitions as its rows need. By default it has as many as any shuffle,
    # of which each pass over a few thousand rows then starts a task.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
}
