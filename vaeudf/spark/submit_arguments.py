"""The arguments of spark-submit, taken apart as it does itself."""

from __future__ import annotations

from collections.abc import Sequence

Arguments = list[tuple[str, str | None]]
"""Flags, each with its value, or None."""

# Whatever else begins with a hyphen takes the next word for its value, even if that begins with one
# (SparkSubmitOptionParser of Spark's launcher).
_WITHOUT_VALUE = {
    *("--help", "-h", "--load-spark-defaults", "--supervise", "--usage-error"),
    *("--verbose", "-v", "--version"),
}
# Where the driver runs; what is sent there; and what its Java alone may have.
_OF_THE_DRIVER = {
    *("--master", "--deploy-mode", "--name", "--archives", "--files", "--py-files", "--jars"),
    *("--packages", "--exclude-packages", "--repositories"),
    *("--driver-class-path", "--driver-java-options", "--driver-library-path"),
}


def take_apart(words: Sequence[str]) -> Arguments:
    """Return the flags among words that end with ``pyspark-shell``, or have no such end."""
    rest = list(words[:-1] if words[-1:] == ["pyspark-shell"] else words)
    found: Arguments = []
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if equals:
            found.append((flag, value))
        elif flag in _WITHOUT_VALUE or not rest:
            found.append((flag, None))
        else:
            found.append((flag, rest.pop(0)))
    return found


def for_client(arguments: Arguments) -> list[str]:
    """Return what a JVM is started with that sends a driver elsewhere, and runs nothing itself.

    It knows the properties that the driver is to have.
    """
    words = ["--master", "local", "--deploy-mode", "client"]
    for flag, value in arguments:
        if flag not in _OF_THE_DRIVER:
            words += [flag] if value is None else [flag, value]
    return [*words, "pyspark-shell"]
