"""One run at a time, for a table in a store that cannot tell two writers apart."""

from __future__ import annotations

import logging

from vaeudf.encoding.staging import Run
from vaeudf.errors import PublishConflict
from vaeudf.storage.conditions import heeds_conditions

log = logging.getLogger(__name__)


def check_single_writer(run: Run) -> None:
    """Refuse to go on beside another run where both might publish the same version.

    A run has told of itself before it looks for others, so that of two that begin at once, one at
    least sees the other.

    Args:
        run: A run that is alive.

    Raises:
        PublishConflict: Another run is writing to the table, or was a moment ago.
        InputError: The store takes no commits of Delta's at all.
    """
    heeds = heeds_conditions(run.folder)
    if heeds is None:
        log.info(
            "it could not be found out whether the store of table %s heeds conditions "
            "(If-None-Match), by which Delta tables tell two writers apart.",
            run.table,
        )
    if heeds is not False:
        return
    log.warning(
        "the store of table %s ignores conditions (If-None-Match), by which Delta tables tell two "
        "writers apart. Let only one program write to the table at a time; of other runs of "
        "encode_catalog this one takes care itself.",
        run.table,
    )
    others = run.find_others()
    if others:
        raise PublishConflict(
            f"another run is writing to table {run.table}: {', '.join(others)}. Its store ignores "
            "conditions (If-None-Match), so that one of two versions would be lost. Nothing was "
            "encoded; run again once that run has ended. One that was killed on another machine "
            "counts as ended an hour after its last sign."
        )
