"""Options of a job whose driver runs on the cluster."""

from __future__ import annotations

import dataclasses
import json
import typing

import pytest

from vaeudf.errors import InputError
from vaeudf.workflows.cli import path_options
from vaeudf.workflows.cluster_mode import options_there
from vaeudf.workflows.encode_catalog import EncodeCatalog
from vaeudf.workflows.export_model import ExportModel
from vaeudf.workflows.inspect_table import InspectTable
from vaeudf.workflows.jobs import NAMES, find_job
from vaeudf.workflows.query_topk import QueryTopk

TABLE = "hdfs://night/posteriors"


def test_options_are_the_same_there():
    options = QueryTopk(TABLE, z=["-1,2", "~"], tolerance="0.1,0.2", where="it's", k=None, per="a")
    there = json.loads(json.dumps(options_there(options)))
    assert QueryTopk(**there) == options


def test_a_path_that_all_machines_have():
    options = EncodeCatalog("s3a://bucket/photos/*.jpg", "file:///models/vae 1", "hdfs:///table")
    there = options_there(options)
    assert there["catalog"] == "s3a://bucket/photos/*.jpg"
    assert (there["model"], there["table"]) == ("/models/vae 1", "hdfs:///table")
    assert options_there(EncodeCatalog("file:/a", "file:/b", TABLE))["model"] == "/b"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (EncodeCatalog("photos", "hdfs:///model", TABLE), "--catalog is photos"),
        (EncodeCatalog(TABLE, "/models/vae", TABLE), "--model is /models/vae"),
        (EncodeCatalog(TABLE, "~/vae", TABLE), "--model is ~/vae"),
        (QueryTopk(TABLE, image=[f"{TABLE}/a.jpg", "b.jpg"]), "--image is b.jpg"),
        (QueryTopk("C:posteriors", z=["0"]), "--table is C:posteriors"),
        (QueryTopk("file:posteriors", z=["0"]), "--table is file:posteriors"),
        (InspectTable(TABLE, f"{TABLE}-health", compare="last"), "--compare is last"),
    ],
)
def test_a_path_that_this_machine_alone_may_have(options, found):
    with pytest.raises(InputError) as caught:
        options_there(options)
    assert str(caught.value) == (
        f"{found}, a path on this machine, which the driver on the cluster does not see; name it "
        "by the URI of a store, such as hdfs:///path, or as file:///path where every machine has "
        "it at the same place."
    )


def test_what_is_no_path():
    assert options_there(InspectTable(TABLE, f"{TABLE}-health", compare="3"))["compare"] == "3"
    options = ExportModel(f"{TABLE}-model", factory="shop.vae:Encoder", image_size=8)
    assert options_there(options)["factory"] == "shop.vae:Encoder"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"factory": "shop/vae.py:Encoder"}, "--factory is shop/vae.py:Encoder, a path on this"),
        ({"factory": f"{TABLE}/vae.py:Encoder"}, f"--factory is {TABLE}/vae.py:Encoder, in a st"),
        ({"py_files": ["file:///shop", "shop"]}, "--py-files is shop, a path on this machine, wh"),
        ({"py_files": [f"{TABLE}/shop.zip"]}, f"--py-files is {TABLE}/shop.zip, in a store; na"),
    ],
)
def test_code_is_on_all_machines(changed, found):
    """Python imports it, and so a store will not do."""
    kept = {"factory": "file:///shop/vae.py:Encoder", "py_files": ["file:///shop", "file:/a.zip"]}
    options = ExportModel(f"{TABLE}-model", image_size=8, **kept)
    there = options_there(options)
    assert (there["factory"], there["py_files"]) == ("/shop/vae.py:Encoder", ["/shop", "/a.zip"])
    with pytest.raises(InputError) as caught:
        options_there(dataclasses.replace(options, **changed))
    assert str(caught.value).startswith(found)
    assert str(caught.value).endswith(
        "; name it as file:///path where every machine has it at the same place."
    )


# Options that take text and name neither a file nor a folder.
NO_PATHS = set(
    """
    allow_host arguments background center clamp columns decoder describe_by divergence encoder
    fail_on host id_column ignore_dims image_column k_range keep like likelihood mean mu_output
    path_column payload_columns per picture_output reconstruct reconstruct_items resize score
    share std taus tolerance traverse unlike variance_output version_column walk weights_key
    weights_prefix where z
    """.split()
)


def takes_text(hint: object) -> bool:
    return hint is str or any(map(takes_text, typing.get_args(hint)))


def test_every_option_that_takes_text_is_a_path_or_none():
    """One of neither kind would name files of this machine to a driver that is elsewhere."""
    others = set()
    for name in NAMES:
        options = find_job(name)[0]
        texts = {key for key, hint in typing.get_type_hints(options).items() if takes_text(hint)}
        paths = set(path_options(options))
        assert paths <= texts
        others |= texts - paths
    assert others == NO_PATHS
