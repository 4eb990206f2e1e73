"""The arguments of spark-submit, taken apart."""

from __future__ import annotations

import pytest

from vaeudf.spark.submit_arguments import for_client, take_apart


def test_a_value_may_begin_with_hyphens():
    words = ["--driver-java-options", "--add-opens=java.base/java.lang=ALL-UNNAMED", "--verbose"]
    words += ["-c", "spark.yarn.tags=a=b", "--queue=night", "--name", "pyspark-shell"]
    assert take_apart([*words, "pyspark-shell"]) == [
        ("--driver-java-options", "--add-opens=java.base/java.lang=ALL-UNNAMED"),
        ("--verbose", None),
        ("-c", "spark.yarn.tags=a=b"),
        ("--queue", "night"),
        ("--name", "pyspark-shell"),
    ]


def test_words_without_their_end():
    assert take_apart(["--queue", "night"]) == [("--queue", "night")]
    assert take_apart(["--queue"]) == [("--queue", None)]
    assert take_apart(["pyspark-shell"]) == take_apart([]) == []


def test_what_the_client_is_started_with():
    given = ["--master", "yarn", "--properties-file", "my conf", "--archives", "e.zip#e"]
    given += ["--py-files=a.py", "--jars", "b.jar", "--driver-java-options", "-javaagent:/there"]
    given += ["--deploy-mode", "cluster", "--driver-memory", "2g", "--supervise"]
    given += ["--conf", "spark.yarn.tags=a,b", "pyspark-shell"]
    assert for_client(take_apart(given)) == [
        *("--master", "local", "--deploy-mode", "client"),
        *("--properties-file", "my conf", "--driver-memory", "2g", "--supervise"),
        *("--conf", "spark.yarn.tags=a,b", "pyspark-shell"),
    ]


@pytest.mark.spark
@pytest.mark.classic
def test_flags_without_values_are_those_of_spark(spark):
    """So that no flag of another Spark is taken for one that has a value, or has none."""
    gateway = spark.sparkContext._gateway
    java = gateway.jvm.java.lang
    kind = java.Class.forName("org.apache.spark.launcher.SparkSubmitOptionParser")
    constructor = kind.getDeclaredConstructor(gateway.new_array(java.Class, 0))
    constructor.setAccessible(True)
    parser = constructor.newInstance(gateway.new_array(java.Object, 0))

    def flags(name: str) -> set[str]:
        field = kind.getDeclaredField(name)
        field.setAccessible(True)
        return {flag for names in field.get(parser) for flag in names}

    for flag in flags("switches"):
        assert take_apart([flag, "word"])[0] == (flag, None)
    for flag in flags("opts"):
        assert take_apart([flag, "--word"]) == [(flag, "--word")]
