"""On the PYTHONPATH of a container of YARN's, its Python uses more memory than it has asked for."""

import os
import time

if os.environ.get("VAEUDF_TEST_HOG"):
    hog = b"x" * (3 * 2**30)
    time.sleep(60)
