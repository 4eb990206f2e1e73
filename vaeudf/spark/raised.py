"""The exceptions that Spark raises, in this process and over Spark Connect."""

from __future__ import annotations

import logging

from pyspark.errors import PySparkException

try:
    from py4j.protocol import Py4JError
except ImportError:  # a client of Spark Connect alone
    SPARK_ERRORS: tuple[type[Exception], ...] = (PySparkException,)
else:
    SPARK_ERRORS = (PySparkException, Py4JError)


def raise_without_logging() -> None:
    """Keep Spark from logging an error in an expression, with its stack trace, besides raising."""
    logging.getLogger("SQLQueryContextLogger").disabled = True
