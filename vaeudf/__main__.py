"""The command ``vaeudf JOB …``, also ``python -m vaeudf JOB …``."""

from __future__ import annotations

import atexit
import difflib
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import vaeudf
from vaeudf.workflows.jobs import LISTING, NAMES, WITHOUT_SPARK, find_job

log = logging.getLogger(__name__)

_USAGE = f"""\
usage: vaeudf JOB [options]

{LISTING}
  vaeudf JOB --help  say what a job's options are
  vaeudf --version   say which version this is

  vaeudf JOB --remote sc://host:15002 …
                     run the tasks at a server of Spark Connect (default: SPARK_REMOTE);
                     --archive dist/environment.tar.gz sends Python and the packages
                     along (default: SPARK_REMOTE_ARCHIVE)

environment:
  SPARK_REMOTE       a server of Spark Connect, instead of a cluster that Spark is started on
  SPARK_MASTER       the cluster (default: local[*,4], all cores, three retries)
  SPARK_CONF         Spark properties file (default: vaeudf's own on a local master)
  SPARK_DEPLOY_MODE  cluster: the driver runs on YARN, too (default: client, it runs here)
"""
# What YARN runs as a driver.
_SCRIPT = """\
from vaeudf.__main__ import run_submitted

if __name__ == "__main__":
    run_submitted({name!r}, {options!r}, {result!r}, debug={debug!r})
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
    from vaeudf.errors import InputError
    from vaeudf.spark.launch import configure_launch, drives_on_cluster
    from vaeudf.workflows.cli import is_debug
    from vaeudf.workflows.cli import main as run_job

    options_type, job = _import_job(name)
    words, remote = _without(argv, "--remote")
    if remote is not None:
        os.environ["SPARK_REMOTE"] = remote
    words, archive = _without(words, "--archive")
    if archive is not None:
        os.environ["SPARK_REMOTE_ARCHIVE"] = archive

    def run(options: Any) -> dict[str, Any]:
        if remote == "":
            raise InputError("--remote needs a value, such as sc://host:15002.")
        if archive == "":
            raise InputError("--archive needs a value, such as dist/environment.tar.gz.")
        if archive is not None and not os.environ.get("SPARK_REMOTE"):
            raise InputError(
                "--archive is for a server of Spark Connect; expected --remote or SPARK_REMOTE "
                "beside it. Where Spark is started here, spark.archives is its property."
            )
        on_cluster = name not in WITHOUT_SPARK and drives_on_cluster()
        configure_launch()
        if on_cluster:
            _submit(name, options, debug=is_debug(argv))
        elsewhere = os.environ.get("SPARK_DEPLOY_MODE") == "cluster" or remote is not None
        if name in WITHOUT_SPARK and elsewhere:
            log.warning("%s needs no Spark, and runs here: not on the cluster.", name)
        return job(options)

    run_job(options_type, run, words)


def _import_job(name: str) -> tuple[type, Callable[[Any], dict[str, Any]]]:
    """Import a job, without the collections of garbage that imports set off and that find none.

    With torch there are over 100,000 objects to look through: a quarter of a second here, and
    half a second in the collections with which Python ends.
    """
    atexit.register(gc.freeze)
    enabled = gc.isenabled()
    gc.disable()
    try:
        return find_job(name)
    finally:
        if enabled:
            gc.enable()


def _without(argv: Sequence[str], wanted: str) -> tuple[list[str], str | None]:
    """Return a job's options without a flag, and its value: "" if it has none."""
    words = list(argv)
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == wanted:
            end = place + (1 if equals else 2)
            return words[:place] + words[end:], value if equals else "".join(words[place + 1 : end])
    return words, None


def _submit(name: str, options: Any, *, debug: bool) -> NoReturn:
    """Run a job with its driver on YARN, and end as it has ended there."""
    from vaeudf.spark.submission import run_on_yarn
    from vaeudf.workflows.cluster_mode import options_there

    given = options_there(options)
    ending = run_on_yarn(
        name,
        lambda result: _SCRIPT.format(name=name, options=given, result=result, debug=debug),
    )
    sys.stdout.write(ending.out)
    sys.stderr.write(ending.err)
    sys.exit(ending.exit_code)


def run_submitted(name: str, options: Mapping[str, Any], result: str, *, debug: bool) -> None:
    """Run a job in a driver on YARN.

    Args:
        name: The job's name.
        options: Its options, by name.
        result: The URI of a file to write how it ended to.
        debug: Whether to show the stack trace of an error.
    """
    from vaeudf.spark.ending import record
    from vaeudf.spark.session import spark_session
    from vaeudf.workflows.cli import carry_out

    options_type, job = find_job(name)

    def run() -> dict[str, Any]:
        # Before the job's own work, and also where it needs none: YARN ends a driver that has not
        # started Spark within spark.yarn.am.waitTime.
        with spark_session(name):
            return job(options_type(**options))

    record(lambda: carry_out(run, debug=debug), result)


if __name__ == "__main__":
    main()
