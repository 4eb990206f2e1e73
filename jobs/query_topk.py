"""Find the k items with the highest log q(z|x) for every z. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.query_topk import QueryTopk, query_topk

if __name__ == "__main__":
    main(QueryTopk, query_topk)
