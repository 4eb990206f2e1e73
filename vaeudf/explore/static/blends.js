/** Blends: several items that are liked and disliked, asked as one. */

/** What dislikes weigh beside likes, as in query_topk. */
export const UNLIKE_WEIGHT = 0.5;

function mean(vectors) {
  return vectors[0].map(
    (_, i) => vectors.reduce((sum, vector) => sum + vector[i], 0) / vectors.length,
  );
}

/** The mean of a blend: of the likes, away from the dislikes. */
export function blendMean(liked, disliked) {
  const centre = mean(liked);
  if (disliked.length === 0) return centre;
  const away = mean(disliked);
  return centre.map((value, i) => (value - UNLIKE_WEIGHT * away[i]) / (1 - UNLIKE_WEIGHT));
}
