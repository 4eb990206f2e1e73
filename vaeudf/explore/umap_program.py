"""A program of its own that makes a map by UMAP: means come in as NumPy's file, places go out.

In a process of its own because UMAP's compiled code keeps Python's lock for seconds: nothing else
would be answered meanwhile. It needs nothing of vaeudf, and ends with the process that started it.
"""

from __future__ import annotations

import os
import sys
import threading
from io import BytesIO

import numpy as np


def end_with_parent() -> None:
    """Wait until the other end of the input is closed, which the parent's own end does, too."""
    # Not by sys.stdin, whose lock Python needs to end.
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Read means, and write places."""
    os.nice(10)  # searches go first
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    mu = np.load(BytesIO(sys.stdin.buffer.read(size)), allow_pickle=False)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import umap

    places = umap.UMAP(random_state=0, n_jobs=1).fit_transform(mu)
    stream = BytesIO()
    np.save(stream, np.asarray(places, np.float64), allow_pickle=False)
    sys.stdout.buffer.write(stream.getvalue())
    sys.stdout.buffer.flush()
    os._exit(0)  # not waiting for the thread


if __name__ == "__main__":
    main()
