"""Plots of clusterings, as PNG files' bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaeudf.pages.figures import figure_png, new_figure

_DPI = 160
_INK, _ACCENT, _SOFT = "#0b5e55", "#b0571a", "#8b98a5"


def objective_curves(curves: Sequence[Sequence[float]], *, best: int, label: str) -> bytes:
    """Draw how the objective fell, iteration by iteration, from every set of seeds.

    Args:
        curves: The objective at each iteration, of each restart.
        best: Which restart was kept.
        label: What the objective is, with its unit.
    """
    figure = new_figure(5, 2.6, _DPI)
    axes = figure.subplots()
    for restart, curve in enumerate(curves):
        kept = restart == best
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=_INK if kept else _SOFT,
            linewidth=1.8 if kept else 1,
            marker="o",
            markersize=3,
            zorder=2 if kept else 1,
            label="kept" if kept else None,
        )
    _finish(axes, "iteration", label)
    axes.legend(fontsize=8)
    return figure_png(figure)


def choice_of_k(
    k: Sequence[int],
    *,
    objectives: Sequence[float],
    silhouettes: Sequence[float],
    chosen: int,
    label: str,
) -> bytes:
    """Draw the objective and the silhouette of each k.

    Args:
        k: The numbers of clusters.
        objectives: The best objective of each.
        silhouettes: The silhouette of each; NaN for one cluster.
        chosen: The k that was chosen.
        label: What the objective is, with its unit.
    """
    figure = new_figure(5, 4.4, _DPI)
    panels = zip(figure.subplots(2, 1), (objectives, silhouettes), strict=True)
    for (axes, values), name in zip(panels, (label, "silhouette"), strict=True):
        axes.plot(k, values, color=_INK, marker="o", markersize=4)
        axes.axvline(chosen, color=_ACCENT, linewidth=1, linestyle="--", label=f"k = {chosen}")
        _finish(axes, "k", name)
    figure.axes[1].legend(fontsize=8)
    return figure_png(figure)


def _finish(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
