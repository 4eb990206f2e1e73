"""How many candidates re-ranking needs as a catalog grows, and which find the nearest pictures.

    python -m benchmarks.candidates --data DIR --photos FOLDER --model BUNDLE

Makes --items different pictures of the photos: each is turned by up to 8 degrees, moved, scaled,
mirrored, and has its colours and its contrast changed. The model encodes them all. For z of each
kind that ``inspect_table --pictures`` asks with, the ten pictures nearest to decode(z) are found by
comparing all; then their ranks among the candidates, which say how many of them are among the best
so many. Smaller catalogs are the first of the pictures. What is made is kept in DIR.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from benchmarks.measure import print_table, tell
from vaeudf.health.agreement import KINDS, K, draw_points
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec

SIZES = (3_000, 10_000, 30_000, 100_000, 300_000)
TAUS = (0.0, 0.2, 0.5, 1.0, 2.0)
WANTED = (0.95, 0.9, 0.9, 0.9)
"""The share of the ten nearest pictures that is wanted, by kind of z."""
DECODED, PIXELS = "decode(mu)", "pixels"
FEATURES = 64
"""Principal components of pictures that stand for them."""
_ROWS = 4_096
_FOR_COMPONENTS = 20_000


def main() -> None:
    """Make the pictures, encode them, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--queries", type=int, default=100, help="z of each kind")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)

    import vaeudf
    from vaeudf.model.bundle import load_decoder

    bundle = vaeudf.load_bundle(options.model)
    decode = partial(decode_levels, load_decoder(bundle.decoder_files))
    pixels = make_pictures(options.data, options.photos, bundle.encoder.spec, options.items)
    mu, log_var = encode(options.data, bundle, pixels)
    points = np.concatenate(draw_points(mu, options.queries, seed=0))
    levels = decode(points)
    errors = all_errors(options.data, pixels, levels)
    sizes = [n for n in SIZES if n < len(mu)] + [len(mu)]
    nearest = [(size, nearest_rows(errors[:, :size])) for size in sizes]

    rules: dict[str, NDArray[Any]] = {}
    for tau in TAUS:
        rules[f"tolerance {tau:g}"] = ranks(by_density(mu, log_var, tau), points, nearest)
    rules["nearest mu"] = ranks(partial(by_distance, mu), points, nearest)
    own, asked = decoded_features(options.data, decode, mu, levels)
    rules[DECODED] = ranks(partial(by_distance, own), asked, nearest)
    own, asked = pixel_features(options.data, pixels, levels)
    rules[PIXELS] = ranks(partial(by_distance, own), asked, nearest)
    for tau in (0.2, 1.0):
        # The best c by one rule and the best c by the other: 2 c candidates.
        both = np.minimum(rules[f"tolerance {tau:g}"], rules[DECODED])
        rules[f"half by tolerance {tau:g}, half by {DECODED}"] = 2 * both

    show(rules, sizes, options.queries)


def make_pictures(data: Path, photos: Path, spec: ImageSpec, count: int) -> NDArray[np.uint8]:
    """Return so many pictures as the model sees them, mapped into memory."""
    path = data / f"pixels-{count}.npy"
    shape = (count, spec.height, spec.width, spec.channels)
    if not path.exists():
        found = [decode_image(p.read_bytes(), spec) for p in sorted(photos.rglob("*.jpg"))]
        sources = np.array([one for one in found if not isinstance(one, ImageFailure)])
        part = path.with_suffix(".part")
        file = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        del file
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            job = partial(_make_rows, part, sources)
            for end in pool.map(job, range(0, count, _ROWS)):
                if end % (32 * _ROWS) == 0:
                    tell(f"made {end:,} of {count:,} pictures")
        part.rename(path)
    return np.load(path, mmap_mode="r")


def _make_rows(path: Path, sources: NDArray[np.uint8], start: int) -> int:
    file = np.lib.format.open_memmap(path, "r+")
    end = min(start + _ROWS, len(file))
    for row in range(start, end):
        rng = np.random.default_rng([row, 19])
        source = Image.fromarray(sources[rng.integers(len(sources))])
        file[row] = np.asarray(vary(source, rng))
    file.flush()
    return end


def vary(source: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture that is like another: turned, moved, scaled, mirrored, of other colours."""
    side = source.width
    angle, scale = np.radians(rng.uniform(-8, 8)), rng.uniform(0.85, 1.15)
    x, y = side / 2 + rng.uniform(-0.08, 0.08, 2) * side
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    if rng.random() < 0.5:
        source = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    affine = (cos, sin, side / 2 - cos * x - sin * y, -sin, cos, side / 2 + sin * x - cos * y)
    moved = source.transform(
        source.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor="white"
    )
    hue = np.asarray(moved.convert("HSV")).copy()
    hue[..., 0] += np.uint8(rng.integers(256))
    moved = Image.fromarray(hue, "HSV").convert("RGB")
    return ImageEnhance.Contrast(moved).enhance(rng.uniform(0.7, 1.3))


def encode(
    data: Path, bundle: Any, pixels: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mu and log_var of all pictures."""
    path = data / f"posteriors-{len(pixels)}.npz"
    if not path.exists():
        parts = [bundle.encoder.encode(np.array(rows)) for rows in _blocks(pixels, 512, "encoded")]
        mu, log_var = (np.concatenate(part) for part in zip(*parts, strict=True))
        np.savez(path, mu=mu, log_var=log_var)
    with np.load(path) as found:
        return found["mu"], found["log_var"]


def decode_levels(decoder: Any, z: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return what z's decode to, in [0, 1], a row each, shape (Q, levels of a picture)."""
    parts = [decoder.decode_levels(z[at : at + 256]) for at in range(0, len(z), 256)]
    return np.concatenate(parts).reshape(len(z), -1)


def all_errors(
    data: Path, pixels: NDArray[np.uint8], levels: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean squared differences of all pictures from all levels, shape (Q, N)."""
    path = data / f"errors-{len(pixels)}-{len(levels)}.npy"
    if not path.exists():
        centre = levels.mean(axis=0)
        asked = levels - centre  # smaller numbers, of which float32 loses less
        found = np.empty((len(levels), len(pixels)), np.float32)
        at = 0
        for rows in _blocks(pixels, _ROWS, "compared"):
            x = rows.reshape(len(rows), -1) / np.float32(255) - centre
            errors = np.square(x).sum(axis=1) - 2 * (asked @ x.T)
            errors += np.square(asked).sum(axis=1)[:, None]
            found[:, at : at + len(rows)] = errors / levels.shape[1]
            at += len(rows)
        np.save(path, found)
    return np.load(path, mmap_mode="r")


def _blocks(array: NDArray[Any], rows: int, done: str) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        if start // rows % 64 == 63:
            tell(f"{done} {start + rows:,} of {len(array):,}")


def nearest_rows(errors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows of the K smallest errors of each query, shape (Q, K)."""
    return np.array([np.argpartition(own, K)[:K] for own in errors])


def by_density(
    mu: NDArray[np.float32], log_var: NDArray[np.float32], tau: float
) -> Callable[[NDArray[np.floating]], NDArray[np.float32]]:
    """Return what gives log q(z|x) of all items with a tolerance, up to a constant."""
    variance = np.exp(log_var.astype(np.float64)) + tau**2
    precision, volume = variance.astype(np.float32) ** -1, np.log(variance).sum(axis=1)

    def score(z: NDArray[np.floating]) -> NDArray[np.float32]:
        misfit = np.einsum("ij,ij->i", np.square(z.astype(np.float32) - mu), precision)
        return -0.5 * (misfit + volume.astype(np.float32))

    return score


def by_distance(own: NDArray[np.float32], asked: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return minus the squared distance of all rows from one."""
    return -np.square(own - asked.astype(np.float32)).sum(axis=1)


def ranks(
    score: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    asked: NDArray[np.floating],
    nearest: list[tuple[int, NDArray[np.int64]]],
) -> NDArray[np.int64]:
    """Return how many items of each catalog score at least as well as each of its nearest pictures.

    Args:
        score: Scores all items for one query.
        asked: The queries, shape (Q, d).
        nearest: Of each catalog, how many of the items it has, and the rows of its nearest
            pictures, shape (Q, K).

    Returns:
        Shape (catalogs, Q, K).
    """
    found = np.empty((len(nearest), len(asked), K), np.int64)
    for query, z in enumerate(asked):
        values = score(z)
        for place, (size, rows) in enumerate(nearest):
            own = values[rows[query]]
            found[place, query] = [np.count_nonzero(values[:size] >= floor) for floor in own]
    tell("ranked")
    return found


def decoded_features(
    data: Path,
    decode: Callable[[NDArray[np.floating]], NDArray[np.float32]],
    mu: NDArray[np.float32],
    levels: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return principal components of what the items' mu and the z's decode to."""
    mean, axes = components(decode(mu[:_FOR_COMPONENTS]))
    path = data / f"decoded-{len(mu)}.npy"
    if not path.exists():
        parts = [(decode(rows) - mean) @ axes.T for rows in _blocks(mu, 512, "decoded")]
        np.save(path, np.concatenate(parts))
    return np.load(path), (levels - mean) @ axes.T


def pixel_features(
    data: Path, pixels: NDArray[np.uint8], levels: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return principal components of the pictures, and of what the z's decode to."""
    flat = pixels.reshape(len(pixels), -1)
    mean, axes = components(flat[:_FOR_COMPONENTS] / np.float32(255))
    path = data / f"components-{len(pixels)}.npy"
    if not path.exists():
        parts = [
            (rows / np.float32(255) - mean) @ axes.T for rows in _blocks(flat, _ROWS, "projected")
        ]
        np.save(path, np.concatenate(parts))
    return np.load(path), (levels - mean) @ axes.T


def components(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean of rows, and their first principal axes, by a randomised range finder."""
    import torch

    mean = rows.mean(axis=0)
    torch.manual_seed(0)
    _, _, axes = torch.pca_lowrank(torch.from_numpy(rows - mean), FEATURES, center=False)
    return mean, axes.numpy().T


def show(rules: dict[str, NDArray[Any]], sizes: list[int], queries: int) -> None:
    """Print how many candidates are enough, and the share that 200 and 2,000 find."""
    for limit in (200, 2_000):
        rows = []
        for name, found in rules.items():
            shares = (found <= limit).reshape(len(sizes), len(KINDS), queries, K).mean(axis=(2, 3))
            rows.append([name, *(" ".join(f"{s:.2f}" for s in of_size) for of_size in shares)])
        print(f"\nShare of the ten nearest among {limit} candidates ({', '.join(KINDS)}):\n")
        print_table(["candidates", *(f"{n:,} items" for n in sizes)], rows)
    rows = []
    for name, found in rules.items():
        own = found.reshape(len(sizes), len(KINDS), queries * K)
        enough = [
            max(
                int(np.quantile(kind, share, method="higher"))
                for kind, share in zip(of, WANTED, strict=True)
            )
            for of in own
        ]
        rows.append([name, *(f"{count:,}" for count in enough)])
    print(f"\nCandidates that hold {WANTED} of the ten nearest:\n")
    print_table(["candidates", *(f"{n:,} items" for n in sizes)], rows)


if __name__ == "__main__":
    main()
