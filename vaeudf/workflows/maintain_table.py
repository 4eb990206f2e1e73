"""Describe a posterior table, list its versions, go back to one, remove old files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from vaeudf.encoding.run_record import last_runs
from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute
from vaeudf.table.delta import Commit
from vaeudf.table.description import Description, describe
from vaeudf.table.maintenance import FEWEST_DAYS, list_versions, roll_back, vacuum
from vaeudf.workflows.cli import Summary, option, path_option

_COMMITS_SHOWN, _RUNS_SHOWN = 20, 5
_COUNTS = ("read", "encoded", "carried", "removed")


@dataclass(frozen=True)
class MaintainTable:
    """Describe a posterior table, list its versions, go back to one, or remove old files."""

    table: str = path_option(help="folder of the posterior table")
    action: Literal["list", "describe", "roll_back", "vacuum"] = option("list", help="what to do")
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
    """Do one of the four; needs no Spark."""
    summary: Summary = {"table": absolute(options.table), "action": options.action}
    if options.action == "vacuum":
        found = vacuum(options.table, options.keep_days, dry_run=options.dry_run)
        for path in found.removed:
            sys.stdout.write(f"{path}\n")
        if found.left:
            sys.stdout.write(
                f"{found.left} other files are left alone, for the table has deletion vectors: "
                "VACUUM of the engine that wrote them knows which are dead.\n"
            )
        return summary | {
            "dry_run": options.dry_run,
            "removed_files": len(found.removed),
            "left_files": found.left,
        }
    if options.to_version is not None:
        table = roll_back(options.table, options.to_version)
        return summary | {
            "rolled_back_to": options.to_version,
            "version": table.version,
            "items": table.num_items,
        }
    if options.action == "describe":
        return summary | _describe(options.table)
    versions = list_versions(options.table)
    rows = [
        (
            one.version,
            _time(one.commit),
            f"{one.num_items:,}",
            one.model_id[:12],
            "there" if one.is_whole else "removed",
            one.commit.run_id or f"{one.commit.operation} by {one.commit.engine}",
        )
        for one in versions
    ]
    _print(rows, ("version", "written (UTC)", "items", "model", "files", "run"), right=(0, 2))
    return summary | {"versions": [one.version for one in versions if one.is_whole]}


def _describe(uri: str) -> Summary:
    found = describe(uri)
    table = found.table
    deleted = f", and {found.num_deleted:,} deleted ones in its files" if found.num_deleted else ""
    protocol = f"reader {found.reader_version}, writer {found.writer_version}"
    _print(
        [
            ("version", table.version),
            ("items", f"{table.num_items:,}{deleted}"),
            ("files", f"{len(table.files):,}, {found.num_bytes:,} bytes"),
            ("pixels", _pixels(found)),
            ("latent_dim", table.latent_dim),
            ("model", table.model_id),
            ("comment", found.comment or "-"),
            ("protocol", protocol),
            ("features", ", ".join(found.features) or "-"),
            *((f"constraint {name}", condition) for name, condition in found.constraints.items()),
            *((f"property {name}", value) for name, value in found.properties.items()),
        ]
    )
    sys.stdout.write("\n")
    _print(found.columns, ("column", "type", "comment"))
    sys.stdout.write("\n")
    shown = found.commits[-_COMMITS_SHOWN:]
    if len(shown) < len(found.commits):
        sys.stdout.write(f"the last {len(shown)} of {len(found.commits)} commits in the log:\n")
    commits = [
        (
            one.version,
            _time(one),
            one.operation,
            one.engine,
            one.run_id,
        )
        for one in shown
    ]
    _print(commits, ("version", "written (UTC)", "operation", "engine", "run"), right=(0,))
    runs = last_runs(uri, _RUNS_SHOWN)
    if runs:
        sys.stdout.write("\n")
        _print(
            [
                (
                    run["run_id"],
                    run["outcome"],
                    "-" if run["version"] is None else run["version"],
                    *(f"{run[name]:,}" for name in _COUNTS),
                    f"{sum(number for _, number in run['quarantined'] or ()):,}",
                )
                for run in runs
            ],
            ("run", "outcome", "version", *_COUNTS, "quarantined"),
            right=(2, 3, 4, 5, 6, 7),
        )
    return {
        "version": table.version,
        "items": table.num_items,
        "deleted_rows": found.num_deleted,
        "bytes": found.num_bytes,
        "pixel_bytes": found.pixel_bytes,
        "features": list(found.features),
    }


def _pixels(found: Description) -> str:
    if found.pictures is None:
        return "-"
    files = f"{found.num_pixel_files:,} of {len(found.table.files):,} files have them"
    return f"{found.pictures} bytes an item; {files}, {found.pixel_bytes:,} bytes"


def _time(commit: Commit) -> str:
    return "-" if commit.written is None else f"{commit.written:%Y-%m-%d %H:%M:%S}"


def _print(
    rows: Sequence[Sequence[object]], headers: Sequence[str] = (), right: Sequence[int] = ()
) -> None:
    """Print a table; the columns at the places in ``right`` hold numbers."""
    width = max(map(len, [*rows, headers]))
    text = tabulate(
        rows,
        headers=headers,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if place in right else "left" for place in range(width)],
    )
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))
