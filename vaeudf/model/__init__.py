"""Models: the bundle on disk, the networks in it, and the device they run on."""
