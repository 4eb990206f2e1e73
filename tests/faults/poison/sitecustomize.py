"""On the PYTHONPATH of Spark's Python workers, this makes some images poisonous."""

import os

if os.environ.get("VAEUDF_TEST_POISON"):
    import ctypes
    import time

    from vaeudf import encoding

    decode = encoding.decode_image

    def decode_or_die(data, spec):
        if data is not None and data.startswith(b"POISON"):
            what = data.removeprefix(b"POISON").strip()
            if what == b"segfault":
                ctypes.string_at(0)
            if what == b"hang":
                time.sleep(1000)
            if what == b"memory":
                hog = [bytearray(2**30) for _ in range(64)]
                return hog
        return decode(data, spec)

    encoding.decode_image = decode_or_die
    encoding._SECONDS_PER_BATCH = 5.0
    encoding.SECONDS_PER_IMAGE = 15.0
