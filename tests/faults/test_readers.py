"""Queries in a loop while one version after the other is published.

Run by ``./spark-submit.sh test -m slow``.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.support.versions import PAYLOAD, write_file
from vaeudf.query.bulk import top_k
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.open import open_for_publishing
from vaeudf.table.publish import publish

pytestmark = [pytest.mark.spark, pytest.mark.slow]

SCHEMA = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
NIGHTS = 50


def items_of(night: int) -> list[str]:
    return [f"{night:02}-{i}" for i in range(3 + night % 7)]


def put(uri: str, night: int) -> None:
    """Publish a night's items, in three files."""
    previous, items = open_for_publishing(uri, 2), items_of(night)
    files = [write_file(uri, f"r{night}-{part}", items[part::3], SCHEMA) for part in range(3)]
    publish(uri, previous, files, SCHEMA, 2, f"r{night}")


def test_every_answer_is_of_one_version(spark, tmp_path):
    uri = str(tmp_path / "posteriors")
    put(uri, 0)
    answers: list[list[str]] = []
    done = threading.Event()

    def publish_all() -> None:
        for night in range(1, NIGHTS + 1):
            seen = len(answers)
            put(uri, night)
            # No faster than that some nights are met by a query.
            while len(answers) == seen and night % 5 == 0 and not done.is_set():
                done.wait(0.01)

    writer = threading.Thread(target=publish_all)
    writer.start()
    try:
        while writer.is_alive():
            # All items score the same, so that the answer is all of them, by item_id.
            hits = top_k(uri, np.zeros((1, 2)), 20).orderBy("rank").collect()
            answers.append([row.item_id for row in hits])
    finally:
        done.set()
        writer.join()
    nights = [int(found[0][:2]) for found in answers]
    assert answers == [items_of(night) for night in nights]
    assert nights == sorted(nights) and len(set(nights)) >= NIGHTS // 5
