"""The answers of bulk queries, by brute force."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch


def oracle(table: pa.Table, z: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """The answer by the definition: log_prob of every pair, then a sort by (-score, item_id)."""
    mu = torch.tensor(np.stack(table["mu"].to_numpy()), dtype=torch.float64)
    sigma = torch.tensor(np.stack(table["log_var"].to_numpy()), dtype=torch.float64).mul(0.5).exp()
    q = torch.distributions.Independent(torch.distributions.Normal(mu, sigma), 1)
    scores = q.log_prob(torch.tensor(z, dtype=torch.float64)[:, None]).numpy()
    ids = table["item_id"].to_pylist()
    return [
        sorted(zip(ids, row, strict=True), key=lambda pair: (-pair[1], pair[0].encode()))[:k]
        for row in scores
    ]
