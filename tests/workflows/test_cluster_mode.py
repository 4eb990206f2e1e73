"""Options of a job whose driver runs on the cluster."""

from __future__ import annotations

import dataclasses
import json
import re

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
    with pytest.raises(
        InputError, match=r"^--factory is shop/vae\.py:Encoder, a path on this mach"
    ):
        options_there(dataclasses.replace(options, factory="shop/vae.py:Encoder"))


def test_all_options_that_name_files_are_known():
    # Whatever its help says is a folder or a file.
    about = re.compile(r"^(?:decode a )?(?:folder|file of)|^module, archive|^the model bundle")
    for name in NAMES:
        options = find_job(name)[0]
        told = {
            field.name
            for field in dataclasses.fields(options)
            if about.search(str(field.metadata["help"]))
        }
        assert told <= set(path_options(options))
