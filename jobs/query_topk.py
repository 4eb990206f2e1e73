"""Find the k items with the highest log q(z|x) for every z. See --help."""

import sys

from vaeudf.__main__ import main

if __name__ == "__main__":
    main(["query_topk", *sys.argv[1:]])
