"""The plots of an inspection, as PNG files' bytes.

All are narrow, so that their text can still be read at the width of a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.health.agreement import Estimates
from vaeudf.health.examine import Dimension
from vaeudf.health.hubs import HubCurve
from vaeudf.numerics.sketches import QuantileSketch
from vaeudf.pages.figures import figure_png, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 4.4
_DPI = 144
_BLUE, _ORANGE, _GREY = "#2456a6", "#b0571a", "#8a929c"
# Lines differ by more than their colour.
_LINES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", "-"))
_COLOURS = ("#2456a6", "#0b5e55", "#7a3e9d", "#b0571a", "#a3243b")
_BINS = 60


def kl_bars(dimensions: Sequence[Dimension]) -> bytes:
    """Draw each dimension's KL to the prior as a bar, hatched if the dimension is not active."""
    figure = _figure(0.9 + 0.26 * len(dimensions))
    axes = figure.subplots()
    places = np.arange(len(dimensions))
    values = np.array([one.kl if math.isfinite(one.kl) else 0.0 for one in dimensions])
    bars = axes.barh(places, values, color=_BLUE, height=0.7)
    longest = float(max(values.max(), 1e-9))
    for bar, one, value in zip(bars, dimensions, values, strict=True):
        if not one.active:
            bar.set(facecolor="#f3d9c4", edgecolor=_ORANGE, hatch="////")
        text = f"{value:.2f}" if math.isfinite(one.kl) else "too large"
        axes.annotate(
            text if one.active else f"{text}  collapsed",
            (value, bar.get_y() + bar.get_height() / 2),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color="#1d2126" if one.active else _ORANGE,
        )
    axes.set_yticks(places, [one.name for one in dimensions])
    axes.set_ylim(len(dimensions) - 0.5, -0.5)
    axes.set_xlim(0, 1.3 * longest)
    axes.set_xlabel("mean KL to the prior N(0, 1), nats per item", fontsize=10)
    _quiet(axes, "x")
    return figure_png(figure)


def histograms(one: Dimension, mu: QuantileSketch, sigma: QuantileSketch) -> bytes:
    """Draw where a dimension's mu and sigma are; mu beside the density of the prior."""
    figure = _figure(1.9)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    reach = max(3.0, 1.1 * one.mu_reach[max(one.mu_reach)])
    edges = np.linspace(-reach, reach, _BINS + 1)
    density = _density(mu, one.number, edges)
    left.stairs(density, edges, fill=True, color=_BLUE, alpha=0.75)
    z = np.linspace(-reach, reach, 200)
    prior = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    left.plot(z, prior, color=_ORANGE, linewidth=1.3)
    # A collapsed dimension is a single spike: the prior beside it must stay visible.
    left.set_ylim(0, 1.1 * min(float(max(density.max(), 0.4)), 3.0))
    for end in (-one.slider_range, one.slider_range):
        left.axvline(end, color=_GREY, linewidth=0.9, linestyle="--")
    left.set_title(f"mu of {one.name}", fontsize=10)
    shares = sorted(one.sigma)
    low, high = one.sigma[shares[0]], one.sigma[shares[-1]]
    if not (math.isfinite(high) and high > 0):
        low, high = 0.0, 1.0
    margin = max(0.15 * (high - low), 0.05 * high)
    edges = np.linspace(max(0.0, low - margin), high + margin, _BINS // 2 + 1)
    right.stairs(_density(sigma, one.number, edges), edges, fill=True, color="#0b5e55", alpha=0.75)
    right.set_title(f"sigma of {one.name}", fontsize=10)
    right.xaxis.set_major_locator(_few_ticks())
    for axes in (left, right):
        axes.set_yticks([])
        _quiet(axes, None)
    return figure_png(figure)


def hub_plot(curve: HubCurve) -> bytes:
    """Draw the share of queries that hold the most frequent item, by tolerance."""
    figure = _figure(3.4)
    axes = figure.subplots()
    places = np.arange(len(curve.taus) + 1)
    values = np.vstack([curve.shares, curve.euclidean])
    for i, kind in enumerate(curve.kinds):
        marker, line = _LINES[i % len(_LINES)]
        axes.plot(
            places,
            100 * values[:, i],
            marker=marker,
            linestyle=line,
            color=_COLOURS[i % len(_COLOURS)],
            markersize=4.5,
            linewidth=1.5,
            label=kind,
        )
    if curve.recommended is not None:
        _mark(axes, curve.taus.index(curve.recommended))
    axes.set_xticks(places, [*(f"{tau:g}" for tau in curve.taus), "∞"])
    axes.set_xlabel("tolerance tau (∞: nearest mu)", fontsize=10)
    axes.set_ylabel("% of queries", fontsize=10)
    axes.set_ylim(bottom=0)
    _legend(figure, axes)
    _quiet(axes, "y")
    return figure_png(figure)


def shares_plot(
    shares: Estimates, kinds: Sequence[str], ticks: Sequence[str], xlabel: str, recommended: int
) -> bytes:
    """Draw mean shares with their intervals, by something that was tried, one line for each kind.

    Args:
        shares: Of shape (ticks, kinds).
        kinds: What the lines are of.
        ticks: What was tried.
        xlabel: What that is.
        recommended: Which of them to mark.
    """
    figure = _figure(3.4)
    axes = figure.subplots()
    for i, kind in enumerate(kinds):
        marker, line = _LINES[i % len(_LINES)]
        mean = 100 * shares.mean[:, i]
        ends = 100 * np.stack([shares.low[:, i], shares.high[:, i]])
        axes.errorbar(
            # Beside each other, so that the intervals can be told apart.
            np.arange(len(ticks)) + 0.05 * (i - 0.5 * (len(kinds) - 1)),
            mean,
            # A mean of many values may be above the end by a rounding error.
            yerr=np.maximum(np.abs(ends - mean), 0.0),
            marker=marker,
            linestyle=line,
            color=_COLOURS[i % len(_COLOURS)],
            markersize=4.5,
            linewidth=1.5,
            elinewidth=1.0,
            label=kind,
        )
    _mark(axes, recommended)
    axes.set_xticks(np.arange(len(ticks)), ticks)
    axes.set_xlabel(xlabel, fontsize=10)
    axes.set_ylabel("% of the nearest pictures", fontsize=10)
    axes.set_ylim(0, 102)
    _legend(figure, axes)
    _quiet(axes, "y")
    return figure_png(figure)


def _mark(axes: Any, place: float) -> None:
    """Mark what is recommended on a plot of what was tried."""
    axes.axvspan(place - 0.18, place + 0.18, color="#0b5e55", alpha=0.13, linewidth=0)
    axes.annotate(
        "recommended", (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
        textcoords="offset points", ha="center", fontsize=9, color="#0b5e55",
    )  # fmt: skip


def _legend(figure: Figure, axes: Any) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )


def divergence_histogram(
    divergences: NDArray[np.float64], mark: float, label: str, xlabel: str
) -> bytes:
    """Draw a histogram of divergences on a logarithmic axis, with a mark at one value.

    Args:
        divergences: At least one, none below 0; those below the axis are counted at its left end.
        mark: The value to mark.
        label: What the mark means.
        xlabel: The label of the axis.
    """
    positive = divergences[(divergences > 0) & np.isfinite(divergences)]
    low, high = _decades([*positive.tolist(), mark])
    edges = np.geomspace(low, high, 41)
    counts, _ = np.histogram(np.clip(divergences, low, high), edges)
    return _log_histogram(counts.astype(np.float64), edges, mark, label, xlabel)


def sketch_histogram(sketch: QuantileSketch, mark: float, label: str, xlabel: str) -> bytes:
    """Draw the same histogram of a sketch with one dimension and at least one value."""
    ends = [float(sketch.quantile(share)[0]) for share in (0.001, 1.0)]
    low, high = _decades([*(end for end in ends if 0 < end < math.inf), mark])
    edges = np.geomspace(low, high, 41)
    counts = sketch.histogram(edges)[0]
    counts[0] += sketch.histogram(np.array([0.0, low]))[0, 0]
    return _log_histogram(counts, edges, mark, label, xlabel)


def _log_histogram(
    counts: NDArray[np.float64], edges: NDArray[np.float64], mark: float, label: str, xlabel: str
) -> bytes:
    figure = _figure(2.5)
    axes = figure.subplots()
    axes.stairs(counts, edges, fill=True, color=_BLUE, alpha=0.75)
    axes.set_xscale("log")
    axes.axvline(mark, color=_ORANGE, linestyle="--", linewidth=1.2)
    axes.annotate(
        label, (mark, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
        textcoords="offset points", ha="center", fontsize=9, color=_ORANGE,
    )  # fmt: skip
    axes.set_xlabel(xlabel, fontsize=10)
    axes.set_ylabel("items", fontsize=10)
    _quiet(axes, "y")
    return figure_png(figure)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return powers of ten around values, no more than ten apart."""
    high = math.ceil(math.log10(max(values)) + 0.3)
    low = math.floor(math.log10(min(values)) - 0.3)
    return 10.0 ** max(low, high - 10), 10.0**high


def _density(sketch: QuantileSketch, dim: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = sketch.histogram(edges)[dim]
    return np.asarray(counts / (max(1, sketch.count) * np.diff(edges)))


def _figure(height: float) -> Figure:
    return new_figure(_WIDTH, height, _DPI)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)


def _quiet(axes: Any, grid: str | None) -> None:
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, alpha=0.3)
        axes.set_axisbelow(True)
