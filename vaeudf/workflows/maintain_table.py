"""List a posterior table's versions, go back to one, remove old files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute
from vaeudf.table.maintenance import FEWEST_DAYS, list_versions, roll_back, vacuum
from vaeudf.workflows.cli import Summary, option


@dataclass(frozen=True)
class MaintainTable:
    """List a posterior table's versions, go back to one, or remove the files of old ones."""

    table: str = option(help="folder of the posterior table")
    action: Literal["list", "roll_back", "vacuum"] = option("list", help="what to do")
    to_version: int | None = option(None, help="with roll_back: the version to go back to")
    keep_days: float = option(
        7.0, help="with vacuum: keep what was part of the table within so many days"
    )
    dry_run: bool = option(False, help="with vacuum: only say what would be removed")

    def __post_init__(self) -> None:
        if (self.to_version is not None) != (self.action == "roll_back"):
            raise InputError("to-version goes with --action roll_back, which needs it.")
        if not self.keep_days >= FEWEST_DAYS:
            raise InputError(f"keep-days is {self.keep_days:g}; expected at least {FEWEST_DAYS:g}.")
        if self.dry_run and self.action != "vacuum":
            raise InputError("dry-run goes with --action vacuum.")


def maintain_table(options: MaintainTable) -> Summary:
    """Do one of the three; needs no Spark."""
    summary: Summary = {"table": absolute(options.table), "action": options.action}
    if options.action == "vacuum":
        removed = vacuum(options.table, options.keep_days, dry_run=options.dry_run)
        for path in removed:
            sys.stdout.write(f"{path}\n")
        return summary | {"dry_run": options.dry_run, "removed_files": len(removed)}
    if options.to_version is not None:
        table = roll_back(options.table, options.to_version)
        return summary | {
            "rolled_back_to": options.to_version,
            "version": table.version,
            "items": table.num_items,
        }
    versions = list_versions(options.table)
    sys.stdout.write("version  published (UTC)      items      model         files    run\n")
    for one in versions:
        sys.stdout.write(
            f"{one.version:>7}  {one.published:%Y-%m-%d %H:%M:%S}  {one.num_items:>9,}  "
            f"{one.model_id[:12]:<12}  {'there' if one.is_whole else 'removed':<7}  {one.run_id}\n"
        )
    return summary | {"versions": [one.version for one in versions if one.is_whole]}
