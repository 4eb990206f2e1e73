"""The command ``vaeudf JOB …``, also ``python -m vaeudf JOB …``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import Any

import vaeudf
from vaeudf.workflows.jobs import LISTING, NAMES, find_job

_USAGE = f"""\
usage: vaeudf JOB [options]

{LISTING}
  vaeudf JOB --help  say what a job's options are
  vaeudf --version   say which version this is

environment:
  SPARK_MASTER       the cluster (default: local[*,4], all cores, three retries)
  SPARK_CONF         Spark properties file (default: vaeudf's own on a local master)
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a job, or list the jobs.

    Args:
        argv: The job's name and its options; by default this process's command line.
    """
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help", "help"):
        sys.stdout.write(_USAGE)
    elif command == "--version":
        sys.stdout.write(f"vaeudf {vaeudf.__version__}\n")
    elif command in NAMES:
        _run(command, rest)
    else:
        near = difflib.get_close_matches(command.replace("-", "_"), NAMES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        sys.stderr.write(f"error: there is no job {command!r}.{hint} See vaeudf --help.\n")
        sys.exit(2)


def _run(name: str, argv: Sequence[str]) -> None:
    # Imported here: listing the jobs must not wait for Spark's and torch's imports.
    from vaeudf.spark.launch import configure_launch
    from vaeudf.workflows.cli import main as run_job

    options_type, job = find_job(name)

    def run(options: Any) -> dict[str, Any]:
        configure_launch()
        return job(options)

    run_job(options_type, run, argv)


if __name__ == "__main__":
    main()
