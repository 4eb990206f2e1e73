"""decode_latents: its options, its model, its outputs. Its drawings have tests of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.drawings import pixels, refused
from tests.support.scene import LATENT_DIM, make_bundle, tree
from tests.support.tables import moved
from vaeudf.errors import BundleError, InputError
from vaeudf.model.bundle import load_bundle
from vaeudf.model.manifest import Manifest
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import parse
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents


def test_options_from_the_command_line_and_a_file(tmp_path):
    found = parse(
        DecodeLatents,
        ["--table", "t", "--walk", "a,b", "--walk", "c", "--output", "o", "--path", "fisher_rao"],
    )
    assert (found.walk, found.path) == (["a,b", "c"], "fisher_rao")
    found = parse(
        DecodeLatents, ["--model", "m", "--traverse", "3", "--center", "-1,2", "--report", "r"]
    )
    assert (found.drawing.dims, found.center) == ((3,), "-1,2")
    found = parse(DecodeLatents, ["--table", "t", "--reconstruct", "7", "--report", "r"])
    assert found.reconstruct in (7, "7")
    config = Path(__file__).parents[2] / "conf" / "examples" / "decode_latents.yaml"
    assert parse(DecodeLatents, ["--config", str(config)]).drawing.dims == (0, 1)
    (tmp_path / "c.yaml").write_text("model: m\ntraverse: 3\nreport: r\n")
    assert parse(DecodeLatents, ["--config", f"{tmp_path}/c.yaml"]).drawing.dims == (3,)
    (tmp_path / "c.yaml").write_text("table: m\nreconstruct: 100\nreport: r\n")
    assert parse(DecodeLatents, ["--config", f"{tmp_path}/c.yaml"]).reconstruct == 100


KINDS = "--queries, --z, --traverse, --walk, --reconstruct or --reconstruct-items"
Z = {"z": ["0"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, f"expected one thing to decode, from {KINDS}; found none."),
        ({**Z, "traverse": "1"}, "found --z and --traverse."),
        ({"reconstruct": 1, "reconstruct_items": ["a"]}, "--reconstruct and --reconstruct-items."),
        ({**Z, "output": None}, "expected --output or --report, or both: where the pictures go."),
        ({**Z, "range": 1.0}, "range is for --traverse, but --z was asked for."),
        ({**Z, "samples": 2}, "samples is for --queries, but --z was asked for."),
        ({**Z, "path": "fisher_rao"}, "path is for --walk, but --z was asked for."),
        ({**Z, "center": "0"}, "center is for --traverse, but --z was asked for."),
        ({**Z, "steps": 5}, "steps is for --traverse and --walk, but --z was asked for."),
        (
            {**Z, "catalog": "c"},
            "for --walk and --reconstruct and --reconstruct-items, but --z was",
        ),
        ({**Z, "order": "best"}, "order is for --reconstruct and --reconstruct-items, but --z was"),
        ({**Z, "version": -3}, "version is -3; expected 0 or more, and a --table that has it."),
        ({**Z, "format": "gif"}, "format is 'gif'; expected one of png, parquet."),
        ({**Z, "device": "tpu"}, "device is 'tpu'; expected one of auto"),
        (
            {**Z, "output": None, "report": "r", "format": "parquet"},
            "format is parquet, but no file is written without --output.",
        ),
        ({"walk": ["a", "b"], "path": "x"}, "path is 'x'; expected one of linear, fisher_rao."),
        ({"reconstruct": 1, "order": "any"}, "order is 'any'; expected one of worst, best."),
        ({"reconstruct": 1, "seed": -1}, "seed is -1; expected 0 or more."),
        # What a drawing refuses is refused with the options.
        ({"reconstruct": "many"}, "reconstruct is 'many'; expected a number of items, or all."),
        ({"walk": ["a"]}, "walk is 'a'; expected two different items: --walk A --walk B."),
        ({"traverse": "x"}, "traverse is 'x'; expected a dimension, such as 3"),
        ({"traverse": "1", "steps": 1}, "steps is 1; expected at least 2: both ends."),
        ({"queries": "q", "samples": -1}, "samples is -1; expected 0 to 10,000."),
    ],
)
def test_options_that_are_wrong(asked, message):
    with pytest.raises(InputError) as caught:
        DecodeLatents(**{"table": "t", "output": "o", **asked})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"traverse": "1", "like": "a"}, "--like names items of a table; say which with --table."),
        ({"walk": ["a", "b"]}, "--walk names items of a table; say which with --table."),
        ({"reconstruct": 3}, "--reconstruct names items of a table; say which with --table."),
        ({"reconstruct_items": ["a"]}, "--reconstruct-items names items of a table; say which"),
        ({**Z, "version": 3}, "version is 3; expected 0 or more, and a --table that has it."),
    ],
)
def test_what_needs_a_table(asked, message):
    with pytest.raises(InputError) as caught:
        DecodeLatents(model="m", output="o", **asked)
    assert str(caught.value).startswith(message)


def test_what_needs_a_model():
    with pytest.raises(InputError, match=r"^expected --model BUNDLE, or --table TABLE for"):
        DecodeLatents(output="o", **Z)


@pytest.mark.spark
def test_bad_input(spark, bundle_path, table, items, parquet_catalog, tmp_path):
    out = {"output": str(tmp_path / "out"), "report": str(tmp_path / "page")}
    both = {"table": table, **out}
    refused(
        "there is no item 'none' in the table; expected item_ids",
        walk=[next(iter(items)), "none"],
        **both,
    )
    refused("there is no item 'none' in the table;", traverse="1", like="none", **both)
    refused(
        "there is no item 'none' in the table (nor 1 more);",
        reconstruct_items=["none", "x"],
        **both,
    )
    refused(
        "is not a folder; expected a model bundle",
        BundleError,
        model=f"{tmp_path}/no",
        z=["0"],
        **out,
    )
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    refused(
        "its pictures would not be those of z. Name the right one with --model.",
        BundleError,
        table=table,
        model=str(tmp_path / "other"),
        z=["0,0,0,0"],
        **out,
    )
    shutil.rmtree(tmp_path / "other")
    for path in (table, bundle_path, parquet_catalog):
        refused("are one, or one is inside the other", reconstruct="1", table=table, output=path)
    refused(
        "are one, or one is inside",
        z=["0,0,0,0"],
        model=bundle_path,
        output=f"{tmp_path}/a",
        report=f"{tmp_path}/a/b",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spark
def test_a_table_whose_model_is_not_there(catalog_table, bundle_path, tmp_path):
    table = moved(catalog_table, str(tmp_path / "table"), model=str(tmp_path / "model"))
    out = str(tmp_path / "out")
    refused("name it with --model", BundleError, table=table, z=["0,0,0,0"], output=out)
    decode_latents(DecodeLatents(table=table, model=bundle_path, z=["0,0,0,0"], output=out))


@pytest.mark.slow
@pytest.mark.spark
def test_plain_parquet_says_neither_model_nor_pictures(
    table, items, parquet_catalog, bundle_path, tmp_path
):
    plain, out = str(tmp_path / "plain.parquet"), str(tmp_path / "out")
    pq.write_table(pa.concat_tables(map(pq.read_table, open_table(table).files)), plain)
    a, b = list(items)[:2]
    named = {"table": plain, "model": bundle_path}
    refused(
        "is plain Parquet, which does not say what it was", table=plain, walk=[a, b], output=out
    )
    refused("does not say where its pictures are", reconstruct="2", output=out, **named)
    decode_latents(DecodeLatents(walk=[a, b], output=out, **named))
    done = decode_latents(
        DecodeLatents(reconstruct="2", catalog=parquet_catalog, output=f"{out}-2", **named)
    )
    assert (done["compared"], done["changed"]) == (2, 0)


@pytest.mark.spark
def test_a_decoder_of_another_shape(bundle_path, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(bundle_path, model)
    module = tmp_path / "odd_vae.py"
    module.write_text(
        "import torch\n"
        "class Odd(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(2, 2)\n"
        "    def encode(self, x):\n"
        "        m = x.flatten(1)[:, :2]\n"
        "        return self.a(m), self.a(m)\n"
        "    def decode(self, z):\n"
        "        return torch.zeros(len(z), 3, 8, 8)\n"
    )
    from dataclasses import replace

    import vaeudf.model.bundle as bundles
    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.foreign import build_foreign, networks_of
    from vaeudf.model.interface import Interface
    from vaeudf.model.py_files import use_py_files

    use_py_files([str(module)])
    interface = Interface("encode", "0", "1", "decode", "", (2,))
    manifest = Manifest("odd_vae:Odd", {}, 2, ImageSpec(16, 16), interface=interface)
    made = build_foreign("odd_vae:Odd", {})
    bundles.save_bundle(model, networks_of(made, interface, manifest.image), manifest)
    asked = {"model": str(model), "z": ["0,0"], "output": str(out), "py_files": [str(module)]}
    refused("--trust-model", BundleError, **asked)
    refused(
        "the decoder's pictures: scaled pixels have shape (1, 3, 8, 8)",
        BundleError,
        trust_model=True,
        **asked,
    )
    blind = replace(interface, decoder=None)
    manifest = replace(manifest, interface=blind)
    bundles.save_bundle(model, networks_of(made, blind, manifest.image), manifest)
    refused(f"model {model} has no decoder", BundleError, trust_model=True, **asked)
    assert not out.exists()
    # And one that is as it should be, rebuilt by the workers from its bytes.
    module.write_text(module.read_text().replace("3, 8, 8)", "3, 16, 16) + z[:, :1, None, None]"))
    good = ImageSpec(16, 16)
    text = module.read_text()
    other = tmp_path / "even_vae.py"
    other.write_text(text)
    use_py_files([str(other)])
    manifest = Manifest("even_vae:Odd", {}, 2, good, interface=interface)
    made = build_foreign("even_vae:Odd", {})
    bundles.save_bundle(model, networks_of(made, interface, manifest.image), manifest)
    asked |= {"z": ["0.2,0", "0.6,0"], "py_files": [str(other)], "trust_model": True}
    decode_latents(DecodeLatents(**asked))
    for name, level in (("0", 51), ("1", 153)):
        assert (pixels((out / "images" / f"{name}.png").read_bytes()) == level).all()


@pytest.mark.spark
def test_an_older_output_stays(bundle_path, tmp_path):
    out, mine = tmp_path / "out", tmp_path / "mine"
    options = {"model": bundle_path, "z": ["0,0,0,0"], "output": str(out)}
    decode_latents(DecodeLatents(**options))
    before = tree(out)
    refused("exists already; name another folder, or replace it with --overwrite", **options)
    assert tree(out) == before
    options["z"] = ["0,0,0,0", "1,1,1,1"]
    decode_latents(DecodeLatents(overwrite=True, **options))
    assert len(list((out / "images").iterdir())) == 2
    mine.mkdir()
    (mine / "thesis.doc").write_text("x")
    options["output"] = str(mine)
    refused("so --overwrite does not replace it", overwrite=True, **options)


@pytest.mark.spark
def test_the_model_is_that_of_the_table(table, bundle_path, tmp_path):
    summary = decode_latents(DecodeLatents(table=table, z=["0,0,0,0"], report=str(tmp_path / "p")))
    assert summary["model_id"] == load_bundle(bundle_path).model_id
