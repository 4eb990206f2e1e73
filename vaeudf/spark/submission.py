"""A job whose driver runs on YARN: sent there, waited for, and what came of it brought back."""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext

from vaeudf.errors import ClusterError, DriverInterrupted, InputError, root_cause, was_interrupted
from vaeudf.spark.ending import Ending, EndingFile
from vaeudf.spark.memory import killed_for_memory
from vaeudf.spark.submit_arguments import Arguments, for_client, take_apart
from vaeudf.spark.yarn import (
    TAGS,
    Report,
    WaitingForYarn,
    YarnApplication,
    with_tag,
)

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
_CLIENT = "org.apache.spark.deploy.yarn.Client"
_ENVIRONMENT = "spark.yarn.appMasterEnv."
_PYTHONS = (f"{_ENVIRONMENT}PYSPARK_PYTHON", "spark.pyspark.python")


def run_on_yarn(name: str, script: Callable[[str], str]) -> Ending:
    """Run a script as a driver on YARN, and return how it ended.

    What Spark is started with stands in PYSPARK_SUBMIT_ARGS, its Python in PYSPARK_PYTHON.

    Args:
        name: The application's name.
        script: Makes the script, given where
            :func:`vaeudf.spark.ending.record` is to write how it ended.

    Raises:
        InputError: No Python of the cluster's is named, or another user.
        ClusterError: Spark could not submit it, or it ended without a word.
        DriverInterrupted: Ctrl-C has come; the message says what has become of the application.
    """
    arguments = take_apart(shlex.split(os.environ["PYSPARK_SUBMIT_ARGS"]))
    if any(flag == "--proxy-user" for flag, _ in arguments):
        raise InputError(
            "PYSPARK_SUBMIT_ARGS has --proxy-user; a driver on YARN tells how it ended in a file "
            "of its user, which must be the one who runs this. Leave it out, or run the driver "
            "here: unset SPARK_DEPLOY_MODE."
        )
    jvm, given = _start_jvm(arguments)
    python = os.environ.get("PYSPARK_PYTHON")
    if python is None and not any(given.contains(key) for key in _PYTHONS):
        raise InputError(
            "a driver on YARN needs a Python with vaeudf there; run ./spark-submit.sh pack, which "
            "makes an archive of one, or set PYSPARK_PYTHON to one that all machines have."
        )
    application = YarnApplication(jvm)
    file = EndingFile(jvm, given, application.tag)
    file.check()
    with tempfile.TemporaryDirectory(prefix="vaeudf-submit-") as folder:
        resource = Path(folder) / f"{name}.py"
        resource.write_text(script(file.uri))
        launcher = jvm.org.apache.spark.launcher.InProcessLauncher()
        for flag, value in arguments:
            launcher.addSparkArg(*((flag,) if value is None else (flag, value)))
        launcher.setDeployMode("cluster").setAppName(name).setAppResource(str(resource))
        launcher.setConf(TAGS, with_tag(given, application))
        launcher.setConf("spark.yarn.submit.waitAppCompletion", "true")
        if not given.contains("spark.yarn.maxAppAttempts"):
            # Else YARN runs a job again that has ended with an error.
            launcher.setConf("spark.yarn.maxAppAttempts", "1")
        if python is not None:
            launcher.setConf(_PYTHONS[0], python)
        listeners = SparkContext._gateway.new_array(  # type: ignore[union-attr]
            jvm.org.apache.spark.launcher.SparkAppHandle.Listener, 0
        )
        handle = launcher.startApplication(listeners)
        try:
            _wait(handle, application)
        except (KeyboardInterrupt, Py4JError) as error:
            if not was_interrupted(error):
                raise
            said = end(application, handle)
            file.remove()
            raise DriverInterrupted(said) from None
    ending = file.take()
    if ending is None:
        raise ClusterError(_without_a_word(handle, application, given))
    return ending


def _start_jvm(arguments: Arguments) -> tuple[Any, SparkConf]:
    """Start Spark's JVM as a client that runs nothing itself, and return what it has been given."""
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(for_client(arguments))
    # Of this machine: Spark would name it to the driver.
    os.environ.pop("PYSPARK_DRIVER_PYTHON", None)
    try:
        SparkContext._ensure_initialized()
        jvm: Any = SparkContext._jvm
        # What it says of a driver that has ended with an error, the driver has said itself.
        log4j = jvm.org.apache.logging.log4j
        log4j.core.config.Configurator.setLevel(_CLIENT, log4j.Level.OFF)
        return jvm, SparkConf()
    except Exception as error:  # PySpark's own and py4j's
        raise ClusterError(
            f"Spark did not start ({root_cause(error)}). It needs Java 17 or newer. What Spark "
            "itself said is above, if anything."
        ) from None


def end(application: YarnApplication, handle: Any) -> str:
    """End an application after Ctrl-C, and return what has become of it.

    Args:
        application: As far as YARN knows it.
        handle: Spark's launcher's, of what submits it and waits for it in this JVM.
    """
    try:
        application.kill()
    except (KeyboardInterrupt, Py4JError) as error:
        # Ctrl-C once more ends the waiting for an answer.
        silent = "" if was_interrupted(error) else f" ({root_cause(error)})"
        if application.name is None:
            still = "the application may still run"
            find = f"yarn application -list -appTags {application.tag} finds it, and "
        else:
            still, find = f"{application.name} may still run", ""
        return (
            f"interrupted, but YARN's ResourceManager has not been reached{silent}: {still}. Once "
            f"it answers, {find}yarn application -kill {application.name or 'ID'} ends it."
        )
    finally:
        with suppress(Py4JError):
            handle.kill()
    if application.name is None:
        return "interrupted before YARN knew of the application."
    return (
        f"interrupted; YARN ends {application.name}. Its driver is killed there, and may leave "
        "unfinished files beside what it was to write."
    )


def _wait(handle: Any, application: YarnApplication) -> None:
    """Wait until the application has ended, and say where it is."""
    waiting = WaitingForYarn(application)
    told = False
    while not handle.getState().isFinal():
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        if told:
            continue
        text = waiting.look()
        if text is not None:
            log.warning("%s", text)
        try:
            report = application.report()
        except Py4JError as error:
            if was_interrupted(error):
                raise
            continue  # said soon, if it lasts
        if report is not None and not report.waits:
            told = True
            log.info("%s", _where(report))


def _where(report: Report) -> str:
    page = "" if report.page is None else f" Its page is {report.page}."
    return f"running on YARN as {report.name}.{page} Its log: {_log_of(report)}."


def _log_of(report: Report) -> str:
    return f"yarn logs -applicationId {report.name}"


def _without_a_word(handle: Any, application: YarnApplication, given: SparkConf) -> str:
    """Return what is known of an application that has not written how it ended."""
    try:
        report = application.report()
    except Py4JError as error:
        return f"YARN's ResourceManager does not answer: {root_cause(error)}."
    if report is None:
        cause = handle.getError()
        found = "no reason given" if cause.isEmpty() else str(cause.get().toString())
        return f"Spark could not submit the job to YARN: {root_cause(Exception(found))}."
    killed = killed_for_memory(report.diagnostics, given.get, on_driver=True)
    if killed is not None:
        return f"{killed} Its log: {_log_of(report)}."
    found = report.diagnostics or "no reason given"
    return (
        f"the driver {report.name} ended as {report.state} ({found}). Its log: {_log_of(report)}."
    )
