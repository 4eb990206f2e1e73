"""A gate for the night: a version whose health is beyond a limit is not published."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import SparkSession

from vaeudf.errors import GateFailed, InputError, root_cause
from vaeudf.health.findings import Failures, Quarantine
from vaeudf.health.gate import Condition
from vaeudf.health.record import record_of
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import filesystem
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.inspection import Inspection

log = logging.getLogger(__name__)

_OPTION = "gate"
_COMPARISON = "comparison"
_KEPT = (
    "Nothing was published. What was encoded is kept for the next run: change the gate, or leave "
    "it out to publish."
)


@dataclass(frozen=True)
class NightGate:
    """Conditions under which a night's version is not published.

    Attributes:
        conditions: One or more.
    """

    conditions: tuple[Condition, ...]

    @classmethod
    def read(cls, path: str) -> NightGate:
        """Read conditions from a file, one a line; lines that begin with # are comments.

        Args:
            path: A path or URI.

        Raises:
            InputError: It is not there, or is no text, or a line states no condition, or none does.
        """
        system, inner = filesystem(path)
        try:
            with system.open_input_stream(inner) as stream:
                lines = bytes(stream.read()).decode().splitlines()
        except FileNotFoundError:
            raise InputError(
                f"gate is {path!r}, which is not there; expected a file with a condition on a "
                "line, such as 'quarantine.items > 100'."
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(
                f"gate is {path!r}, which cannot be read ({root_cause(error)}); expected a file "
                "with a condition on a line, such as 'quarantine.items > 100'."
            ) from None
        conditions = [
            Condition.parse(line, _OPTION, f"line {number} of gate {path}")
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not conditions:
            raise InputError(
                f"gate is {path!r}, which states no condition; expected one on a line, such as "
                "'quarantine.items > 100'."
            )
        return cls(tuple(conditions))

    def check(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        last: PosteriorTable | None,
        failures: Mapping[str, int],
        watch: Stopwatch,
    ) -> None:
        """Examine a version that is not published yet.

        Args:
            spark: The session.
            table: The new version.
            last: The last one, if it is of the same model: what to compare with.
            failures: How many items could not be encoded, by reason.
            watch: Notes the seconds of each phase.

        Raises:
            GateFailed: A number is beyond a limit, or not there; a line a number.
        """
        # Others may have deleted all of its items.
        last = last if last is not None and last.num_items > 0 else None
        inspection = Inspection()
        findings = inspection.find(spark, table, watch)
        by_reason = sorted(failures.items(), key=lambda one: (-one[1], one[0]))
        findings = replace(
            findings,
            quarantine=Quarantine(
                tuple(Failures(reason, items, ()) for reason, items in by_reason), of_version=True
            ),
        )
        if last is not None:
            with watch.phase("compare"):
                comparison = inspection.compare(spark, table, findings, last, across=False)
            findings = replace(findings, comparison=comparison)
        record = record_of(findings)
        reasons = [_reason(one, record) for one in self._applicable(comparable=last is not None)]
        failed = [reason for reason in reasons if reason is not None]
        if failed:
            raise GateFailed("\n".join([*failed, _KEPT]))

    def _applicable(self, *, comparable: bool) -> Sequence[Condition]:
        """Return the conditions, on a first version only those that need no other one."""
        own = [one for one in self.conditions if one.path.split(".")[0] != _COMPARISON]
        if comparable or len(own) == len(self.conditions):
            return self.conditions
        log.warning(
            "gate: there is no last version of this model to compare with; passed over: %s.",
            ", ".join(str(one) for one in self.conditions if one not in own),
        )
        return own


def _reason(condition: Condition, record: dict[str, Any]) -> str | None:
    try:
        return condition.reason_in(record)
    except InputError as error:
        # Not as an error in the input: what was encoded would be lost for a slip of the pen.
        return str(error)
