"""Cluster an encoded catalog by KL between its items' Gaussians. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog

if __name__ == "__main__":
    main(ClusterCatalog, cluster_catalog)
