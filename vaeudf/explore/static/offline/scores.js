/**
 * Scores of items, as `vaeudf query_topk` has them, over all items one after the other.
 *
 * A question is a list of members {mean, variance, weight}: one point has the variance 0 and the
 * weight 1. With s = sigma² + tau² the items' own log-density of a member is, per dimension,
 * -½ [ ((mean - mu)² + variance) / s + log 2πs ].
 */

const LOG_2PI = Math.log(2 * Math.PI);
const COSTLIEST = 3;

export class Posteriors {
  /** @param {Float32Array} mu  @param {Float32Array} logVar N rows of n numbers each */
  constructor(mu, logVar, n) {
    Object.assign(this, { mu, logVar, n, count: mu.length / n });
  }

  meanOf(row) {
    return Array.from(this.mu.subarray(row * this.n, (row + 1) * this.n));
  }

  variancesOf(row) {
    return Array.from(this.logVar.subarray(row * this.n, (row + 1) * this.n), Math.exp);
  }

  /** sigma² + tau² of an item's dimension. */
  variance(row, i, taus) {
    return Math.exp(this.logVar[row * this.n + i]) + taus[i] * taus[i];
  }

  /** The weighted sum of the members' expected log-densities; open dimensions, null, are left out. */
  logDensity(row, members, taus) {
    let sum = 0;
    for (let i = 0; i < this.n; i++) {
      const s = this.variance(row, i, taus);
      for (const { mean, variance, weight } of members)
        if (mean[i] !== null) {
          const d = mean[i] - this.mu[row * this.n + i];
          sum -= 0.5 * weight * ((d * d + variance[i]) / s + LOG_2PI + Math.log(s));
        }
    }
    return sum;
  }

  /** What the log-density is made of: misfit, volume, and the dimensions that cost most. */
  parts(row, members, taus) {
    let volume = 0;
    const costs = [];
    for (let i = 0; i < this.n; i++) {
      const s = this.variance(row, i, taus);
      let nats = 0;
      for (const { mean, variance, weight } of members)
        if (mean[i] !== null) {
          const d = mean[i] - this.mu[row * this.n + i];
          nats += (0.5 * weight * (d * d + variance[i])) / s;
          volume -= 0.5 * weight * (LOG_2PI + Math.log(s));
        }
      if (members[0].mean[i] !== null) costs.push({ dimension: i, nats });
    }
    const misfit = -costs.reduce((sum, { nats }) => sum + nats, 0);
    costs.sort((a, b) => b.nats - a.nats || a.dimension - b.dimension);
    return { misfit, volume, costliest: costs.slice(0, COSTLIEST) };
  }

  /**
   * The squared Mahalanobis distance of a place from an item's mean over some dimensions, and its root
   * in units of a radius; nothing of no dimensions.
   */
  distances(row, place, taus, dimensions, radius) {
    if (dimensions.length === 0) return {};
    const squared = dimensions.reduce((sum, i) => {
      const d = place[i] - this.mu[row * this.n + i];
      return sum + (d * d) / this.variance(row, i, taus);
    }, 0);
    return { squared_distance: squared, relative_distance: Math.sqrt(squared) / radius };
  }

  /** The Bhattacharyya distance of two items, both blurred by tau, in nats. */
  bhattacharyya(a, b, taus) {
    let sum = 0;
    for (let i = 0; i < this.n; i++) {
      const [v, w] = [this.variance(a, i, taus), this.variance(b, i, taus)];
      const d = this.mu[a * this.n + i] - this.mu[b * this.n + i];
      sum += (0.25 * d * d) / (v + w) + 0.5 * Math.log((v + w) / (2 * Math.sqrt(v * w)));
    }
    return sum;
  }

  /**
   * How many items are expected at a point, in a volume as large as that of one posterior: the sum
   * of q(z|x) over the density of the median sigmas at their mean.
   */
  here(point, taus, sigmas, rows) {
    const typical = (i) => sigmas[i] * sigmas[i] + taus[i] * taus[i];
    const volume = point.reduce((sum, z, i) => (z === null ? sum : sum + 0.5 * (Math.log(typical(i)) + LOG_2PI)), 0);
    const members = [{ mean: point, variance: Array(this.n).fill(0), weight: 1 }];
    return rows.reduce((sum, row) => sum + Math.exp(this.logDensity(row, members, taus) + volume), 0);
  }
}

/** The members of a question: a point z, or items that are liked, and items that are disliked. */
export function membersOf(posteriors, { z, like, unlike, unlikeWeight }) {
  const zeros = Array(posteriors.n).fill(0);
  const item = (row, weight) => ({
    mean: posteriors.meanOf(row).map((value, i) => (z?.[i] === null ? null : value)),
    // Beside a point, disliked items count as points, too.
    variance: z ? zeros : posteriors.variancesOf(row),
    weight,
  });
  const likes = z ? [{ mean: z, variance: zeros, weight: 1 }] : like.map((row) => item(row, 1 / like.length));
  return [...likes, ...unlike.map((row) => item(row, -unlikeWeight / unlike.length))];
}

/** The weighted sum of KL(member ‖ item) from that of the log-densities: what the members' entropies add. */
export function entropies(members) {
  const own = ({ variance, weight }) =>
    weight * variance.reduce((sum, v) => sum + 0.5 * (Math.log(v) + LOG_2PI + 1), 0);
  return members.reduce((sum, member) => sum + own(member), 0);
}
