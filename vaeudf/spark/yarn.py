"""An application on YARN, from when it is submitted: where it is, and for what it waits."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext

from vaeudf.errors import root_cause, was_interrupted
from vaeudf.spark.stopwatch import duration
from vaeudf.spark.waiting import Overdue

log = logging.getLogger(__name__)

TAGS = "spark.yarn.tags"
"""The property of tags that YARN keeps with an application, with commas between."""
TAG_PREFIX = "vaeudf-"
"""What the tags of our own applications begin with."""
_SECONDS_BETWEEN_LOOKS = 1.0
# YARN's own client asks for a quarter of an hour before it says that nobody answers.
_MILLISECONDS_UNTIL_SILENT = "10000"
# As YARN calls them. Its diagnostics say then what is lacking.
_WAITING = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED")


@dataclass(frozen=True)
class Report:
    """What YARN says of an application.

    Attributes:
        name: Its id, ``application_…``.
        state: In YARN's words: ACCEPTED, RUNNING, FINISHED, ….
        queue: The queue that it is in.
        page: The address of its page, or None.
        diagnostics: What YARN has to say besides, in one line.
    """

    name: str
    state: str
    queue: str
    page: str | None
    diagnostics: str

    @property
    def waits(self) -> bool:
        """Whether YARN has not started its first container yet."""
        return self.state in _WAITING


class YarnApplication:
    """An application that is known by a tag of its own, before Spark tells its id.

    Attributes:
        tag: To be among :data:`TAGS` when the application is submitted.
        name: Its id, ``application_…``, once YARN has told it; until then None.
    """

    def __init__(self, jvm: Any) -> None:
        """Take py4j's view of a JVM with Spark's classes; nothing is asked of YARN yet."""
        self.tag = TAG_PREFIX + uuid.uuid4().hex
        self.name: str | None = None
        self._jvm = jvm
        self._client: Any = None

    def kill(self) -> None:
        """End it, if YARN knows it.

        Raises:
            Py4JError: YARN does not answer within some 10 seconds.
        """
        for one in self._find():
            self._yarn().killApplication(one.getApplicationId())

    def report(self) -> Report | None:
        """Return what YARN says of it now, or None if it does not know it yet.

        Raises:
            Py4JError: YARN does not answer within some 10 seconds.
        """
        found = self._find()
        if not found:
            return None
        (one,) = found
        page = one.getTrackingUrl()
        return Report(
            str(one.getApplicationId().toString()),
            str(one.getYarnApplicationState().toString()),
            str(one.getQueue()),
            None if page in (None, "", "N/A") else str(page),
            " ".join(str(one.getDiagnostics() or "").split()),
        )

    def _find(self) -> list[Any]:
        request = self._jvm.org.apache.hadoop.yarn.api.protocolrecords.GetApplicationsRequest
        asked = request.newInstance()
        tags = self._jvm.java.util.HashSet()
        tags.add(self.tag)
        asked.setApplicationTags(tags)
        found = list(self._yarn().getApplications(asked))
        for one in found:
            self.name = str(one.getApplicationId().toString())
        return found

    def _yarn(self) -> Any:
        if self._client is None:
            configuration = self._jvm.org.apache.hadoop.yarn.conf.YarnConfiguration(
                hadoop_configuration(self._jvm)
            )
            silent = "yarn.resourcemanager.connect.max-wait.ms"
            configuration.set(silent, _MILLISECONDS_UNTIL_SILENT)
            client = self._jvm.org.apache.hadoop.yarn.client.api.YarnClient.createYarnClient()
            client.init(configuration)
            client.start()
            self._client = client
        return self._client


def hadoop_configuration(jvm: Any) -> Any:
    """Return Hadoop's configuration as Spark has it, with what ``spark.hadoop.…`` says."""
    return jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(SparkConf()._jconf)


class WaitingForYarn:
    """Knows since when an application waits for YARN to start it."""

    def __init__(self, application: YarnApplication) -> None:
        """Take the application; nothing is asked of YARN yet."""
        self._application = application
        self._overdue = Overdue()

    def look(self) -> str | None:
        """Return what is to be said now, if anything: after 30 s, and then each minute."""
        seconds = self._overdue.seconds()
        if seconds is None:
            return None
        try:
            report = self._application.report()
        except Py4JError as error:
            if was_interrupted(error):
                raise
            return (
                f"YARN's ResourceManager has not answered for {duration(seconds)} "
                f"({root_cause(error)}). Is it the one that HADOOP_CONF_DIR names?"
            )
        if report is None:
            return f"YARN does not know of this application after {duration(seconds)}."
        if not report.waits:
            return None
        return (
            f"YARN has not started {report.name} after {duration(seconds)}: it is "
            f"{report.state} in the queue {report.queue}"
            f"{f' ({report.diagnostics})' if report.diagnostics else ''}. "
            f"Look at yarn application -status {report.name}."
        )


@contextmanager
def saying_while_yarn_waits(application: YarnApplication | None) -> Iterator[None]:
    """Say meanwhile what Spark waits for in silence: that YARN starts the application.

    Args:
        application: None where it is not one of YARN's, or has been started already.
    """
    if application is None:
        yield
        return
    waiting = WaitingForYarn(application)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            text = waiting.look()
            if text is not None and not stop.is_set():
                log.warning("%s", text)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def submitted_here(given: SparkConf) -> YarnApplication | None:
    """Return what a session of this process is going to be on YARN, or None for other masters."""
    if given.get("spark.master") != "yarn" or given.get("spark.submit.deployMode") == "cluster":
        return None
    return YarnApplication(SparkContext._jvm)


def with_tag(given: SparkConf, application: YarnApplication) -> str:
    """Return the tags that have been given, and the application's."""
    return ",".join(filter(None, (given.get(TAGS, ""), application.tag)))
