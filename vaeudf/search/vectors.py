"""Vector instructions for compiled loops, where the compiler does not find them by itself.

Each is written once as LLVM's vector code, which is compiled for whatever processor runs it; none
is bound to one kind. They take addresses, and check nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

ROWS = 6
"""Queries in one tile: with 16 items each, their sums fill 12 of AVX2's 16 registers."""
LANES = 16
"""Items in one tile."""

# For type checkers: what it returns is called without the first argument.
intrinsic: Any = numba_intrinsic
_function: Any = cgutils.get_or_insert_function
_several: Any = types.UniTuple
_FLOAT = ir.FloatType()
_INT = ir.IntType(64)
_INDEX = ir.IntType(32)
_BYTES = 4
_EIGHT = ir.VectorType(_FLOAT, 8)
_TILE = ir.VectorType(_FLOAT, LANES)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    found = builder.load(builder.inttoptr(address, kind.as_pointer()))
    found.align = _BYTES
    return found


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = _BYTES


def _splat(builder: Any, number: Any, kind: Any) -> Any:
    """Return a vector with a number in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, _INDEX(0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_INDEX, kind.count), [0] * kind.count)
    )


def _shuffle(builder: Any, one: Any, other: Any, lanes: Iterable[int]) -> Any:
    places = list(lanes)
    mask = ir.Constant(ir.VectorType(_INDEX, len(places)), places)
    return builder.shuffle_vector(one, other, mask)


def _multiply_add(builder: Any, kind: Any) -> Any:
    return _function(
        builder.module,
        ir.FunctionType(kind, [kind, kind, kind]),
        f"llvm.fmuladd.v{kind.count}f32",
    )


def _loop(builder: Any, count: Any, starts: list[Any], step: Any) -> list[Any]:
    """Run a loop ``count`` ≥ 1 times over values, which ``step(i, values)`` replaces."""
    before = builder.block
    body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
    builder.branch(body)
    builder.position_at_end(body)
    i = builder.phi(_INT)
    i.add_incoming(_INT(0), before)
    values = [builder.phi(start.type) for start in starts]
    for value, start in zip(values, starts, strict=True):
        value.add_incoming(start, before)
    replaced = step(i, values)
    following = builder.add(i, _INT(1))
    i.add_incoming(following, body)
    for value, new in zip(values, replaced, strict=True):
        value.add_incoming(new, body)
    builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    builder.position_at_end(after)
    return list(replaced)


@intrinsic
def multiply_tile(
    _: Any, psi: Any, stride: Any, base: Any, phi: Any, width: Any, out: Any, out_stride: Any,
    thresholds: Any,
) -> Any:  # fmt: skip
    """Multiply ROWS queries by LANES items, and return which sums reach their thresholds.

    Args:
        psi: Address of the items' first feature; they are next to each other.
        stride: Bytes from one feature to the next.
        base: Address of what is added to the items' sums before they are compared.
        phi: Address of the queries' features, ``width`` of each, one query after the other.
        width: How many features, at least 1.
        out: Address for the sums, without the base, of the first query.
        out_stride: Bytes from there to the next query's.
        thresholds: Address of the queries' thresholds.

    Returns:
        For each query a number whose bits are the items that reach it; a sum that is NaN does.
    """
    signature = _several(types.uint16, ROWS)(*[types.int64] * 8)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        psi, stride, base, phi, width, out, out_stride, thresholds = args
        multiply_add = _multiply_add(builder, _TILE)
        row = builder.mul(width, _INT(_BYTES))
        rows = [builder.add(phi, builder.mul(row, _INT(r))) for r in range(ROWS)]

        def step(i: Any, sums: list[Any]) -> list[Any]:
            items = _load(builder, builder.add(psi, builder.mul(i, stride)), _TILE)
            offset = builder.mul(i, _INT(_BYTES))
            weights = [_load(builder, builder.add(at, offset), _FLOAT) for at in rows]
            return [
                builder.call(multiply_add, [_splat(builder, weight, _TILE), items, total])
                for weight, total in zip(weights, sums, strict=True)
            ]

        sums = _loop(builder, width, [ir.Constant(_TILE, [0.0] * LANES)] * ROWS, step)
        added = _load(builder, base, _TILE)
        reached = []
        for r, total in enumerate(sums):
            _store(builder, total, builder.add(out, builder.mul(out_stride, _INT(r))))
            least = _load(builder, builder.add(thresholds, _INT(r * _BYTES)), _FLOAT)
            reaches = builder.fcmp_unordered(
                ">=", builder.fadd(total, added), _splat(builder, least, _TILE)
            )
            reached.append(builder.bitcast(reaches, ir.IntType(LANES)))
        return context.make_tuple(builder, signature.return_type, reached)

    return signature, code


@intrinsic
def dot(_: Any, a: Any, b: Any, eights: Any) -> Any:
    """Return the inner product of two runs of 8 · ``eights`` float32, by their addresses."""
    signature = types.float32(types.int64, types.int64, types.int64)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, eights = args
        multiply_add = _multiply_add(builder, _EIGHT)

        def step(i: Any, sums: list[Any]) -> list[Any]:
            offset = builder.mul(i, _INT(8 * _BYTES))
            left, right = (_load(builder, builder.add(at, offset), _EIGHT) for at in (a, b))
            return [builder.call(multiply_add, [left, right, sums[0]])]

        (sums,) = _loop(builder, eights, [ir.Constant(_EIGHT, [0.0] * 8)], step)
        add_up = _function(
            builder.module,
            ir.FunctionType(_FLOAT, [_FLOAT, _EIGHT]),
            "llvm.vector.reduce.fadd.v8f32",
        )
        return builder.call(add_up, [_FLOAT(0.0), sums], fastmath=("reassoc",))

    return signature, code


@intrinsic
def add_dots(
    _: Any, left: Any, left_stride: Any, right: Any, right_stride: Any, places: Any, rows: Any,
    eights: Any, sums: Any,
) -> Any:  # fmt: skip
    """Add to four numbers the inner products of four pairs of runs of 8 · ``eights`` float32.

    Args:
        left: Address of the first run on the left.
        left_stride: Bytes from one to the next.
        right: The same on the right.
        right_stride: The same there.
        places: Address of four int32: which runs on the left.
        rows: And which on the right.
        eights: At least 1.
        sums: Address of the four float32.
    """
    signature = types.void(*[types.int64] * 8)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, left_stride, right, right_stride, places, rows, eights, sums = args
        multiply_add = _multiply_add(builder, _EIGHT)

        def runs(first: Any, stride: Any, numbers: Any) -> list[Any]:
            found = []
            for pair in range(4):
                number = _load(builder, builder.add(numbers, _INT(pair * _BYTES)), _INDEX)
                offset = builder.mul(builder.zext(number, _INT), stride)
                found.append(builder.add(first, offset))
            return found

        lefts, rights = runs(left, left_stride, places), runs(right, right_stride, rows)

        def step(i: Any, totals: list[Any]) -> list[Any]:
            offset = builder.mul(i, _INT(8 * _BYTES))
            return [
                builder.call(
                    multiply_add,
                    [
                        _load(builder, builder.add(one, offset), _EIGHT),
                        _load(builder, builder.add(other, offset), _EIGHT),
                        total,
                    ],
                )
                for one, other, total in zip(lefts, rights, totals, strict=True)
            ]

        totals = _loop(builder, eights, [ir.Constant(_EIGHT, [0.0] * 8)] * 4, step)

        def folded(one: Any, other: Any) -> Any:
            """Return sums of neighbours, two of one, two of the other, and again."""
            parts = [
                _shuffle(builder, one, other, lanes)
                for lanes in ((0, 2, 8, 10, 4, 6, 12, 14), (1, 3, 9, 11, 5, 7, 13, 15))
            ]
            return builder.fadd(*parts)

        four = folded(folded(totals[0], totals[1]), folded(totals[2], totals[3]))
        halves = [_shuffle(builder, four, four, lanes) for lanes in (range(4), range(4, 8))]
        before = _load(builder, sums, ir.VectorType(_FLOAT, 4))
        _store(builder, builder.fadd(before, builder.fadd(*halves)), sums)
        return context.get_dummy_value()

    return signature, code


@intrinsic
def transpose_eight(_: Any, source: Any, stride: Any, target: Any, target_stride: Any) -> Any:
    """Transpose 8 × 8 float32; the strides are bytes from one row to the next."""
    signature = types.void(*[types.int64] * 4)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, stride, target, target_stride = args
        rows = [
            _load(builder, builder.add(source, builder.mul(stride, _INT(r))), _EIGHT)
            for r in range(8)
        ]

        # Pairs of rows, of pairs, of fours: in each step half the lanes change places.
        for apart, low, high in (
            (1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15)),
            (2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
            (4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
        ):
            for r in range(8):
                if not r & apart:
                    left, right = rows[r], rows[r + apart]
                    rows[r] = _shuffle(builder, left, right, low)
                    rows[r + apart] = _shuffle(builder, left, right, high)
        for r, row in enumerate(rows):
            _store(builder, row, builder.add(target, builder.mul(target_stride, _INT(r))))
        return context.get_dummy_value()

    return signature, code


@intrinsic
def lowest_bit(_: Any, bits: Any) -> Any:
    """Return the place of the lowest bit of a number that is not 0."""
    signature = types.int64(types.uint64)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = _function(
            builder.module, ir.FunctionType(_INT, [_INT, ir.IntType(1)]), "llvm.cttz.i64"
        )
        return builder.call(count, [args[0], ir.Constant(ir.IntType(1), 1)])

    return signature, code
