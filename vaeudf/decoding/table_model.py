"""The model that a table was encoded with, found and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeudf.errors import BundleError
from vaeudf.table.open import PosteriorTable

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle


def load_model_of(table: PosteriorTable, path: str, *, trust_model: bool = False) -> Bundle:
    """Load a bundle, and check that a table was encoded with it.

    For plain Parquet, which does not name its model, only latent_dim is checked.

    Raises:
        BundleError: There is no such bundle, or the table was encoded with another.
    """
    # Imported here, so that only a job that decodes waits for the import of torch.
    from vaeudf.model.bundle import load_bundle

    try:
        bundle = load_bundle(path, trust_model=trust_model)
    except BundleError as error:
        raise BundleError(f"{error} Its decoder is needed here: name it with --model.") from None
    if table.provenance and bundle.model_id != table.model_id:
        raise BundleError(
            f"model {path} has id {bundle.model_id[:12]}…, but the table was encoded with "
            f"{table.model_id[:12]}…: its pictures would not be those of z. Name the right one "
            "with --model."
        )
    if bundle.latent_dim != table.latent_dim:
        raise BundleError(
            f"model {path} has latent_dim {bundle.latent_dim}, but the posteriors have "
            f"latent_dim {table.latent_dim}; name the one they are from with --model."
        )
    return bundle
