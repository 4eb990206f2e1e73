"""Where data lives: paths and URIs, and what they open with pyarrow, delta-rs or Spark."""
