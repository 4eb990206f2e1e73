"""On the PYTHONPATH of Spark's Python workers, this poisons or slows images, or fills disks."""

import os

if os.environ.get("VAEUDF_TEST_FILE_LIMIT"):
    import resource

    # As on a disk that is full: a file comes to so many bytes and no further.
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["VAEUDF_TEST_FILE_LIMIT"]),) * 2)

if os.environ.get("VAEUDF_TEST_POISON"):
    import ctypes
    import time

    from vaeudf.encoding import udf as encoding

    decode = encoding.decode_image

    # Seconds per image, of everybody and of those on one host.
    delay = float(os.environ.get("VAEUDF_TEST_DELAY", "0"))
    if os.environ.get("VAEUDF_TEST_SLOW_HOST"):
        delay = float(os.environ.get("VAEUDF_TEST_DELAY_OF_SLOW_HOST", delay))

    # A file that the first to make it hangs by.
    hang = os.environ.get("VAEUDF_TEST_HANG_ONCE")

    def decode_or_die(data, spec):
        time.sleep(delay)
        if hang and not os.path.exists(hang):
            try:
                os.close(os.open(hang, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return decode(data, spec)
            time.sleep(1000)
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
    encoding._SECONDS_PER_BATCH = 1000.0 if hang else 5.0 + 128 * delay
    encoding.SECONDS_PER_IMAGE = 15.0
