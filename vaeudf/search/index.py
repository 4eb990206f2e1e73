"""Exact search in memory, of the same items again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import LOG_LIKELIHOOD, LOG_LIKELIHOOD_BY_QUERY, Score
from vaeudf.numerics.kd_tree import kd_order, scale_of
from vaeudf.numerics.log_sums import LogSums
from vaeudf.search import engine
from vaeudf.search.arguments import Asked, ask, check_items, in_order, ranked, warn_of_few
from vaeudf.search.chosen import chosen, rule_for
from vaeudf.search.compact import Compact
from vaeudf.search.per_value import warn_of_few_allowed
from vaeudf.search.prepared import (
    Prepared,
    prepare,
    prepare_queries,
    with_labels,
    with_score,
    with_tolerance,
)
from vaeudf.search.records import Queries
from vaeudf.search.restrictions import Restrictions
from vaeudf.search.saved import map_index, write_arrays
from vaeudf.search.selection import Choice

# So many queries are answered sooner without a filter than items are made ready for one.
_FEW_QUERIES = 4


class PosteriorIndex:
    """Items in memory, in k-d order, to be searched again and again.

    >>> import numpy as np
    >>> index = PosteriorIndex(np.eye(2), np.zeros((2, 2)), ids=["shirt", "dress"])
    >>> ids, scores = index.search([0.0, 1.0], k=1)
    >>> ids.tolist()
    [['dress']]

    It takes about 2 · (4n + 4n) + 16 bytes per item, for float32 posteriors, and half as much again
    where tolerances change. Searches are safe to run from several threads, and release Python's
    lock.
    """

    def __init__(self, mu: ArrayLike, log_var: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Take in N items.

        Args:
            mu: Means, shape (N, n); float32 is kept as it is, anything else becomes float64.
            log_var: log sigma², shape (N, n).
            ids: What a search returns, shape (N,), unique; row numbers unless given.

        Raises:
            InputError: Shapes that do not fit, a number that is not finite, or an id twice.
        """
        means, log_vars = check_items(mu, log_var)
        self._ids: NDArray[Any] | None = None
        labels = np.arange(len(means))
        if ids is not None:
            self._ids, labels = ranked(ids, len(means))
        order = kd_order(means, scale=scale_of(log_vars))
        self._mu, self._log_var, self._labels = means[order], log_vars[order], labels[order]
        self._rows = np.asarray(order, np.int64)
        self._restrictions = Restrictions(self._rows, self._labels)
        self._prepared: Prepared | None = None
        # For tolerances that change from query to query.
        self._by_query: Prepared | None = None
        self._for_blends: Prepared | None = None
        # The last tolerance that was searched with without a filter.
        self._passing: Tolerance | None = None
        self._compact: Compact | None = None

    @classmethod
    def in_order(cls, mu: ArrayLike, log_var: ArrayLike, order: ArrayLike) -> PosteriorIndex:
        """Take in N items as they stand, such as a table's: near ones follow each other already.

        A search returns row numbers.

        Args:
            mu: Means, shape (N, n).
            log_var: log sigma², shape (N, n).
            order: All row numbers, in the order in which items of equal scores are returned, (N,).

        Raises:
            InputError: Shapes that do not fit, a number that is not finite, or a row number that is
                missing.
        """
        means, log_vars = check_items(mu, log_var)
        index = cls.__new__(cls)
        index._mu, index._log_var = means, log_vars
        index._rows = np.arange(len(means))
        index._ids, index._labels = in_order(order, len(means))
        index._forget()
        return index

    @classmethod
    def open(cls, folder: str) -> PosteriorIndex:
        """Open an index that :meth:`save` has written.

        Its arrays are mapped into memory: opening takes no time, and what searches look at is read
        when they do. Processes that open the same folder share the memory.

        Raises:
            InputError: There is no index, or it is damaged, or another version of vaeudf wrote it.
        """
        arrays = map_index(folder)
        index = cls.__new__(cls)
        index._mu, index._log_var = arrays["mu"], arrays["log_var"]
        index._labels, index._rows = arrays["labels"], arrays["rows"]
        index._ids = arrays.get("ids")
        index._forget()
        return index

    def _forget(self) -> None:
        self._prepared = self._by_query = self._for_blends = self._passing = self._compact = None
        self._restrictions = Restrictions(self._rows, self._labels)

    def keep_compact(self, folder: str | None = None) -> None:
        """Keep one preparation for all searches from now on, of 8n to 8n + 30 bytes per item.

        Then no search prepares the items anew, whatever its score and tolerance. Point queries by
        log_likelihood take some longer with a tolerance of 0, and many queries at once take much
        longer by other scores, which have no filter.

        Args:
            folder: Where :meth:`save_compact` has written it, from which it is mapped into memory;
                made by the first search unless given.

        Raises:
            InputError: It is not there, or it is damaged, or of other items.
        """
        compact = Compact(self._mu, self._log_var, self._labels, folder)
        self._forget()
        self._compact = compact

    def save_compact(self, folder: str, *, overwrite: bool = False) -> None:
        """Write the one preparation to a folder, of about as many bytes as the items have.

        Args:
            folder: As of :meth:`save`.
            overwrite: As there.

        Raises:
            InputError: As there; or nothing is kept compact.
        """
        if self._compact is None:
            raise InputError("the index keeps no compact preparation; call keep_compact first.")
        write_arrays(folder, self._compact.arrays(), overwrite=overwrite)

    def save(self, folder: str, *, overwrite: bool = False) -> None:
        """Write the items to a folder on this machine, in their order, for :meth:`open`.

        It takes 8n + 16 bytes per item for float32 posteriors, and what the ids take. What was
        prepared for a score is not written.

        Args:
            folder: Where to; it must not exist, unless an index is overwritten.
            overwrite: Whether to replace an index that is there. Those who have it open keep the
                old one.

        Raises:
            InputError: Something is there already, the parent folder is not there, or the ids are
                Python objects.
        """
        arrays = {
            "mu": self._mu,
            "log_var": self._log_var,
            "labels": self._labels,
            "rows": self._rows,
        }
        if self._ids is not None:
            if self._ids.dtype.hasobject:
                raise InputError(
                    "ids are Python objects, which are not saved; make the index with an array of "
                    "strings or numbers."
                )
            arrays["ids"] = self._ids
        write_arrays(folder, arrays, overwrite=overwrite)

    @classmethod
    def from_table(cls, uri: str, version: int | None = None) -> PosteriorIndex:
        """Take in all items of a posterior table, or of plain Parquet; needs no Spark.

        Args:
            uri: Where it is.
            version: Which version of the table; None is the latest.

        Raises:
            TableError: There are no posteriors, or they cannot be read.
            InputError: A posterior is not of the table's latent_dim, or not finite.
        """
        # Only now: a search of arrays needs neither pyarrow nor delta-rs.
        from vaeudf.table.open import open_posteriors
        from vaeudf.table.rows import read_posteriors

        ids, mu, log_var = read_posteriors(open_posteriors(uri, version))
        return cls(mu, log_var, ids=ids.to_numpy(zero_copy_only=False).astype(np.str_))

    def __len__(self) -> int:
        return len(self._mu)

    @property
    def latent_dim(self) -> int:
        """The number of dimensions n."""
        return int(self._mu.shape[1])

    @property
    def ids(self) -> NDArray[Any]:
        """The ids, shape (N,), in the order in which the items were given; else row numbers."""
        if self._ids is None:
            return np.arange(len(self))
        given = np.empty_like(self._ids)
        given[self._rows] = self._ids[self._labels]
        return given

    @property
    def in_place(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The items' mu and log_var, each of shape (N, n), as they are searched: in k-d order.

        Of an index that was made by :meth:`in_order`, that is the order of its row numbers.
        """
        return self._mu, self._log_var

    def search(
        self,
        z: ArrayLike,
        k: int = 10,
        *,
        query_log_var: ArrayLike | None = None,
        score: str = "log_likelihood",
        tolerance: ArrayLike = 0.0,
        where: ArrayLike | None = None,
        per: tuple[ArrayLike, int] | None = None,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        distinct: float | None = None,
        diversify: float | None = None,
        candidates: int | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the k items that score best for every query, as :func:`vaeudf.nearest` does.

        The first search by a score and tolerance, or with open dimensions, prepares the items for
        it; what is prepared is kept until a search that needs something else. Which dimensions are
        open, and which items are searched, may change from one search to the next. For a few
        queries by log_likelihood, all tolerances but the first share one preparation; for a few by
        other scores, or with open dimensions, the items are prepared when a tolerance comes twice.

        Args:
            z: Queries, shape (Q, n), or (n,) for one, NaN in dimensions that are left open; for
                Gaussian queries their means.
            k: How many items per query. If there are only N < k, all N come back, with a warning.
            query_log_var: log sigma² of Gaussian queries, shape (Q, n).
            score: One of :data:`vaeudf.gaussian.scores.SCORES`.
            tolerance: tau: how precisely z is meant, one number or one for each dimension, shape
                (n,); for each query its own, shape (Q, 1) or (Q, n).
            where: Which items to search, shape (N,) of bool, in the order of :attr:`ids`; all of
                them unless given. An array of its own that is not writable is made ready once, if
                the next search has it again, too.
            per: A value for each item, in the order in which the index was given them, shape (N,),
                and how many items of one value may be returned. Made ready once as ``where`` is.
            groups: Makes one query, a blend, of all z with the same entry, shape (Q,).
            weights: Of the members of blends, shape (Q,), of any sign.
            distinct: Hide items nearer than this to a better hit, in nats.
            diversify: lambda of maximal marginal relevance, above 0 and at most 1.
            candidates: Of how many it chooses; 10 · k unless given.

        Returns:
            Ids (or row numbers), shape (Q, k), best first, equal scores by id; and their scores.
            Where ``distinct`` leaves a query fewer hits than another one, the last scores are NaN,
            and the ids without meaning (row -1, where items have no ids).

        Raises:
            InputError: As :func:`vaeudf.nearest`.
        """
        asked = ask(z, query_log_var, self.latent_dim, score, tolerance, groups, weights)
        choice = Choice(distinct=distinct, diversify=diversify, candidates=candidates)
        rule = rule_for(choice, k, asked, per)
        wanted = self._restrictions.wanted(where)
        warn_of_few(k, wanted.count, ranked=rule is None)
        prepared, found = self._made_ready(asked, wanted.labels)
        if rule is not None:
            labels, values = chosen(rule, prepared, found, self._posteriors())
            return labels if self._ids is None else self._ids[labels], asked.scores(values)
        limit = self._restrictions.limit(per)
        values, labels, _ = engine.search(prepared, found, min(k, wanted.count), per=limit)
        warn_of_few_allowed(limit, k, labels.shape[1], wanted.count)
        return labels if self._ids is None else self._ids[labels], asked.scores(values)

    def log_sum(
        self,
        z: ArrayLike,
        least: float,
        *,
        tolerance: ArrayLike = 0.0,
        where: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Return log Σ q(z|x) over the items with log q(z|x) ≥ least, for every query.

        Args:
            z: Points, shape (Q, n), or (n,) for one, NaN in dimensions that are left open.
            least: In nats.
            tolerance: As of :meth:`search`.
            where: As there.

        Returns:
            Shape (Q,), in nats; -inf where there is no such item.

        Raises:
            InputError: As :meth:`search`.
        """
        asked = ask(z, None, self.latent_dim, LOG_LIKELIHOOD.name, tolerance)
        prepared, found = self._made_ready(asked, self._restrictions.wanted(where).labels)
        sums = LogSums(len(asked))
        nothing, cuts = np.full(len(asked), np.inf), np.full(len(asked), float(least))
        engine.candidates(prepared, found, 1, nothing, sums=sums, cuts=cuts)
        return sums.logarithms()

    def _made_ready(self, asked: Asked, labels: NDArray[np.int64]) -> tuple[Prepared, Queries]:
        """Return the items, with labels that say which are wanted, and the queries."""
        few = len(asked) <= _FEW_QUERIES
        if asked.score is LOG_LIKELIHOOD and (
            self._compact is not None
            or (few and not self._is_prepared(LOG_LIKELIHOOD, asked.tolerance))
        ):
            asked = asked.with_own_tolerances()
        kind, tau = asked.score, asked.tolerance
        if self._compact is not None:
            prepared = self._compact.prepared(kind, tau)
        else:
            prepared = self._prepare(kind, tau, masked=asked.masked, few=few)
        queries = prepare_queries(
            kind, asked.mu, asked.log_var, tau, masked=prepared.masked, filtered=prepared.filtered
        )
        if labels is not self._labels:
            prepared = with_labels(prepared, labels)
        return prepared, queries

    def _is_prepared(self, kind: Score, tau: Tolerance) -> bool:
        """Return whether the items are ready for this, or for nothing yet, which will be next."""
        prepared = self._prepared
        return prepared is None or (prepared.score, prepared.tolerance) == (kind, tau)

    def _prepare(self, kind: Score, tau: Tolerance, *, masked: bool, few: bool) -> Prepared:
        """Return the items made ready: as they are already, if that will do."""
        if kind.blends:
            # What points are searched with serves blends, too.
            plain = self._prepare(LOG_LIKELIHOOD, tau, masked=masked, few=few)
            blends = self._for_blends
            if blends is None or blends.items.psi is not plain.items.psi or blends.tolerance != tau:
                self._for_blends = blends = with_score(plain, kind)
            return blends
        by_query = kind is LOG_LIKELIHOOD_BY_QUERY
        prepared = self._by_query if by_query else self._prepared
        masked = kind.features_for(masked=masked).masked
        if prepared is not None and prepared.score is kind and (prepared.masked or not masked):
            if prepared.tolerance == tau:
                return prepared
            # Once it may be in passing; the next time it is worth a filter.
            if few and prepared.nodes is not None and self._passing != tau:
                self._passing = tau
                return with_tolerance(prepared, tau)
        prepared = prepare(kind, self._mu, self._log_var, self._labels, tau, masked=masked)
        if by_query:
            self._by_query = prepared
        else:
            self._prepared = prepared
        return prepared

    def _posteriors(self) -> Callable[[NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]]:
        """Return what gives mu and log_var of items by their labels."""
        places = np.empty(len(self), np.int64)
        places[self._labels] = np.arange(len(self))
        return lambda labels: (self._mu[places[labels]], self._log_var[places[labels]])
