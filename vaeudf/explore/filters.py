"""Which items fulfil a condition in SQL, as ``query_topk --where`` takes it.

The condition is parsed as Spark parses it. What means the same to DuckDB is handed to it, which
evaluates it on the columns in memory: columns, values, comparisons, arithmetic and some functions.
There are no subqueries, no tables and no statements, so nothing but these columns is reached;
DuckDB is told so, too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
import sqlglot
from numpy.typing import NDArray
from sqlglot import TokenType, exp
from sqlglot.parser import Parser

from vaeudf.errors import InputError
from vaeudf.explore.refused_conditions import example, no_column, no_truth, unevaluated, unread

# Masks that are kept, of an octet an item each.
_KEPT = 8
_SECONDS, _SECONDS_BETWEEN = 10.0, 0.1
# Deeper ones could exhaust the parser's stack.
_MOST_NODES = 2_000
_MOST_SHOWN = 200
_ALLOWED = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren),
    *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE),
    *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In, exp.Is, exp.Like, exp.ILike),
    *(exp.Escape, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs),
    *(exp.Lower, exp.Upper, exp.Length, exp.Contains, exp.StartsWith, exp.EndsWith),
    *(exp.Coalesce, exp.IsNan, exp.Year, exp.Month, exp.Day, exp.TsOrDsToDate),
    *(exp.Cast, exp.TryCast, exp.DataType),
)
_TYPES = Parser.TYPE_TOKENS
_CASTS = {exp.DataType.Type[name] for name in ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPNTZ")}
_CASTS |= {exp.DataType.Type[name] for name in ("DOUBLE", "FLOAT", "BIGINT", "INT", "SMALLINT")}
_WORDS = (
    "columns, values, comparisons, arithmetic, and, or, not, in, between, like, is null, and the "
    "functions abs, coalesce, contains, day, endswith, ilike, isnan, length, lower, month, "
    "startswith, upper and year"
)


class Filters:
    """Conditions on a table's columns."""

    def __init__(self, items: pa.Table) -> None:
        """Take in the columns that conditions may be on, N rows."""
        self._names: list[str] = items.schema.names
        self._items = _as_spark_compares(items)
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def matching(self, where: str) -> NDArray[np.bool_]:
        """Return which items fulfil a condition, shape (N,); not those of which it is unknown.

        The array is shared: it is not to be written to.

        Raises:
            InputError: It is no condition on these columns, or takes too long.
        """
        with self._lock:
            mask = self._masks.get(where)
            if mask is not None:
                self._masks.move_to_end(where)
                return mask
        condition = self._parsed(where)
        with self._lock:
            mask = self._evaluated(where, condition)
            mask.flags.writeable = False
            self._masks[where] = mask
            while len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
            return mask

    def _evaluated(self, where: str, condition: str) -> NDArray[np.bool_]:
        connection = self._connected()
        done = threading.Event()
        stopper = threading.Thread(target=_stop, args=(connection, done), daemon=True)
        stopper.start()
        try:
            found = connection.sql(f"SELECT ({condition}) AS found FROM items")
            kind = str(found.types[0])
            if kind != "BOOLEAN":
                raise self._refused(where, no_truth(kind))
            array = found.to_arrow_table().column("found")
        except duckdb.InterruptException:
            raise InputError(
                f"where is {where!r}, which takes longer than {_SECONDS:g} seconds; expected a "
                "simpler condition."
            ) from None
        except duckdb.Error as error:
            raise self._refused(where, unevaluated(error)) from None
        finally:
            done.set()
            # Else it might interrupt the next one.
            stopper.join()
        known = pa.compute.fill_null(array, False).combine_chunks()
        return np.array(known.to_numpy(zero_copy_only=False), np.bool_)

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            config: dict[str, str | bool | int | float | list[str]] = {
                "enable_external_access": "false",
                "autoload_known_extensions": "false",
                "autoinstall_known_extensions": "false",
                "python_enable_replacements": "false",
                "memory_limit": "512MB",
                "threads": "2",
                "preserve_insertion_order": "true",
            }
            connection = duckdb.connect(config=config)
            # As the jobs' sessions have it.
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")
            connection.register("items", self._items)
            self._connection = connection
        return self._connection

    def _parsed(self, where: str) -> str:
        """Return the condition as DuckDB has it.

        Raises:
            InputError: It is none, or has something in it that is not allowed.
        """
        try:
            self._check_types(where)
            return self._translated(where, sqlglot.parse(where, read="spark"))
        except sqlglot.errors.SqlglotError as error:
            raise self._refused(where, unread(where, error)) from None
        except RecursionError:
            raise self._refused(where, "it has too many parts") from None

    def _check_types(self, where: str) -> None:
        """Refuse types in the place of functions, each of which the parser would try twice.

        Inside each other they would take it twice as long with every level.
        """
        tokens = sqlglot.tokenize(where, read="spark")
        for token, after in pairwise(tokens):
            if token.token_type in _TYPES and after.token_type is TokenType.L_PAREN:
                raise self._refused(where, f"{token.text + '(…)'!r} is not among {_WORDS}")

    def _translated(self, where: str, statements: list[exp.Expr | None]) -> str:
        if len(statements) > 1:
            raise self._refused(where, "there is more than one; leave out the ';'")
        if not statements or statements[0] is None:
            raise self._refused(where, "it is empty")
        parsed = statements[0]
        for count, node in enumerate(parsed.walk()):
            if count > _MOST_NODES:
                raise self._refused(where, "it has too many parts")
            self._check(where, node)
        return str(parsed.transform(self._for_duckdb).sql(dialect="duckdb"))

    def _check(self, where: str, node: exp.Expr) -> None:
        if type(node) not in _ALLOWED or (isinstance(node, exp.In) and node.args.get("query")):
            raise self._refused(where, f"{node.sql(dialect='spark')!r} is not among {_WORDS}")
        if isinstance(node, exp.Cast):
            plain = isinstance(node.this, exp.Literal) and node.to.this in _CASTS
            if not plain or node.to.expressions:
                raise self._refused(
                    where, f"{node.sql(dialect='spark')!r} converts, which is for dates alone"
                )
        if isinstance(node, exp.Column):
            self._column(where, node)
        if isinstance(node, exp.Is) and not isinstance(node.expression, exp.Null | exp.Boolean):
            raise self._refused(
                where, "is goes with null, true and false; values are compared with ="
            )

    def _column(self, where: str, node: exp.Column) -> str:
        """Return the name of a column, which may be written in other capitals, as in Spark."""
        wanted = str(node.name)
        if not node.table:
            for name in [wanted, *self._names]:
                if name in self._names and name.lower() == wanted.lower():
                    return name
        written = node.sql(dialect="spark")
        raise self._refused(where, no_column(written, wanted, self._names))

    def _for_duckdb(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return exp.column(exp.to_identifier(self._column("", node), quoted=True))
        if isinstance(node, exp.Like | exp.ILike) and not isinstance(node.parent, exp.Escape):
            # Spark's escape character unless another one is named; DuckDB has none.
            return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))
        if isinstance(node, exp.Mod) and not isinstance(node.expression, exp.Nullif):
            # By zero it is unknown, as a division is.
            divisor = exp.Nullif(this=node.expression.copy(), expression=exp.Literal.number(0))
            return exp.Mod(this=node.this.copy(), expression=divisor)
        return node

    def _refused(self, where: str, why: str) -> InputError:
        shown = where if len(where) <= _MOST_SHOWN else where[:_MOST_SHOWN] + "…"
        return InputError(
            f"where is {shown!r}, which is not a condition on the table's columns "
            f"{', '.join(self._names)}: {why}{'' if why.endswith('?') else '.'} Expected, for "
            f"example, {example(self._items)}."
        )


def _stop(connection: duckdb.DuckDBPyConnection, done: threading.Event) -> None:
    """Interrupt what takes too long; again and again, for before it has begun it is not stopped."""
    seconds = _SECONDS
    while not done.wait(seconds):
        connection.interrupt()
        seconds = _SECONDS_BETWEEN


def _as_spark_compares(items: pa.Table) -> pa.Table:
    """Return columns whose comparisons are those of Spark: a float with a decimal as doubles.

    Spark's times are of whole microseconds, and DuckDB compares those of nanoseconds with no others
    that have a time zone.
    """
    for place, field in enumerate(items.schema):
        kind = field.type
        if pa.types.is_float32(kind) or pa.types.is_float16(kind):
            column = items.column(place).cast(pa.float64())
        elif pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = items.column(place).cast(pa.timestamp("us", kind.tz), safe=False)
        else:
            continue
        items = items.set_column(place, field.name, column)
    return items
