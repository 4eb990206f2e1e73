"""Names for clusters, made of the values that set them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vaeudf.clustering.description.apart import SIGNIFICANT
from vaeudf.clustering.description.found import Telling

# A value that fewer of the items have is no name for all of them.
_LEAST_SHARE = 0.25
_MOST_LETTERS = 40
# Values that are added where clusters would have the same name.
_MORE = 2


def suggested_names(
    tellings: Sequence[Sequence[Telling]], numbers: Sequence[int]
) -> list[str | None]:
    """Return a name for each cluster, such as "dress, red", or None; no two are the same.

    It has the value that sets the cluster apart most, and the next one of another column, of those
    that a quarter of its items have and that are no chance. Clusters of which that is the same get
    further values, or else their number.

    Args:
        tellings: What sets each cluster apart, the most telling first.
        numbers: Of the clusters, which differ.
    """
    fit = [
        [one for one in own if one.share >= _LEAST_SHARE and one.g >= SIGNIFICANT]
        for own in tellings
    ]
    short = [_first_two(own) for own in fit]
    longer = list(map(list, short))
    for _ in range(_MORE):
        for place in _doubles([_joined(own) for own in longer]):
            longer[place] += [one for one in fit[place] if one not in longer[place]][:1]
    names = [_joined(own) for own in longer]
    for place in _doubles(names):
        names[place] = f"{_joined(short[place])} ({numbers[place]})"
    # A value may end with such a number itself.
    for place in _doubles(names)[1:]:
        names[place] = None
    return names


def _first_two(fit: Sequence[Telling]) -> list[Telling]:
    if not fit:
        return []
    others = [one for one in fit[1:] if one.column != fit[0].column]
    return [fit[0], *others[:1]]


def _joined(chosen: Sequence[Telling]) -> str | None:
    return ", ".join(map(_in_words, chosen)) or None


def _in_words(one: Telling) -> str:
    """Return a value; that of a number or truth value says nothing without its column."""
    text = one.value if isinstance(one.value, str) else f"{one.column} {_plain(one.value)}"
    text = " ".join(text.split()) or f"{one.column} empty"
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _plain(value: bool | int) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _doubles(names: Sequence[str | None]) -> list[int]:
    counts = Counter(name for name in names if name is not None)
    return [place for place, name in enumerate(names) if name is not None and counts[name] > 1]
