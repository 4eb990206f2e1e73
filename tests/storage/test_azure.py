"""What the environment says of Azure, for pyarrow as for delta-rs; nobody is asked here.

Files and tables in an emulator of Azure's are in test_object_store.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow as pa
import pytest
from pyarrow import fs

from vaeudf.catalog.reader import ImageReader
from vaeudf.errors import InputError, StoreError, VaeUdfError
from vaeudf.model.bundle import load_bundle
from vaeudf.storage.azure import ask_azure, open_azure
from vaeudf.storage.locations import filesystem, spark_uri
from vaeudf.storage.outputs import check_output
from vaeudf.storage.refusals import check_writable

URI = "abfss://photos@shop.dfs.core.windows.net"
EMULATED = {
    "account_name": "devstoreaccount1",
    "account_key": (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    ),
    "blob_storage_scheme": "http",
    "dfs_storage_scheme": "http",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Without what the machine's own environment says."""
    for name in os.environ:
        if name.startswith("AZUR"):
            monkeypatch.delenv(name)


def addressed(authority: str) -> dict[str, str]:
    return {"blob_storage_authority": authority, "dfs_storage_authority": authority}


@pytest.mark.parametrize(
    ("uri", "variables", "expected"),
    [
        (URI, {}, {"account_name": "shop"}),
        (URI.replace("abfss", "abfs"), {}, {"account_name": "shop"}),
        (URI.replace(".dfs.", ".blob."), {}, {"account_name": "shop"}),
        ("az://photos", {"AZURE_STORAGE_ACCOUNT_NAME": "shop"}, {"account_name": "shop"}),
        ("abfss://photos", {"AZURE_STORAGE_ACCOUNT_NAME": "shop"}, {"account_name": "shop"}),
        (URI, {"AZURE_STORAGE_ACCOUNT_NAME": "other"}, {"account_name": "shop"}),
        (
            URI,
            {"AZURE_STORAGE_ACCOUNT_KEY": "QUJD"},
            {"account_name": "shop", "account_key": "QUJD"},
        ),
        (
            URI,
            {"AZURE_STORAGE_ACCESS_KEY": "QUJD"},
            {"account_name": "shop", "account_key": "QUJD"},
        ),
        *(
            (
                URI,
                {"AZURE_STORAGE_SAS_TOKEN": f"{mark}sv=2021&sig=x%3D"},
                {"account_name": "shop", "sas_token": "?sv=2021&sig=x%3D"},
            )
            for mark in ("", "?")
        ),
        (
            URI,
            {"AZURE_CLIENT_ID": "me", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"},
            {"account_name": "shop", "client_id": "me", "client_secret": "s", "tenant_id": "t"},
        ),
        # A managed identity's, for Azure's own library to find.
        (URI, {"AZURE_CLIENT_ID": "me"}, {"account_name": "shop"}),
        # A key goes first, as for delta-rs.
        (
            URI,
            {"AZURE_STORAGE_SAS_TOKEN": "sv=1", "AZURE_STORAGE_ACCOUNT_KEY": "QUJD"},
            {"account_name": "shop", "account_key": "QUJD"},
        ),
        (
            "abfss://photos@shop.dfs.core.chinacloudapi.cn",
            {},
            {
                "account_name": "shop",
                "blob_storage_authority": ".blob.core.chinacloudapi.cn",
                "dfs_storage_authority": ".dfs.core.chinacloudapi.cn",
            },
        ),
        (
            URI,
            {"AZURE_STORAGE_ENDPOINT": "https://shop.blob.core.chinacloudapi.cn/"},
            {
                "account_name": "shop",
                "blob_storage_authority": ".blob.core.chinacloudapi.cn",
                "dfs_storage_authority": ".dfs.core.chinacloudapi.cn",
            },
        ),
        (
            "az://photos",
            {"AZURE_STORAGE_USE_EMULATOR": "true"},
            EMULATED | addressed("127.0.0.1:10000"),
        ),
        (
            "abfss://photos@devstoreaccount1.dfs.core.windows.net",
            {"AZURE_STORAGE_USE_EMULATOR": "1", "AZURITE_BLOB_STORAGE_URL": "http://there:7"},
            EMULATED | addressed("there:7"),
        ),
        (URI, {"AZURE_STORAGE_USE_EMULATOR": "false"}, {"account_name": "shop"}),
    ],
)
def test_what_the_environment_says(monkeypatch, uri, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    files, container = open_azure(uri)
    assert container == "photos"
    assert files == fs.AzureFileSystem(**expected)


def before_20(
    account_name,
    account_key=None,
    *,
    blob_storage_authority=None,
    dfs_storage_authority=None,
    blob_storage_scheme=None,
    dfs_storage_scheme=None,
):
    """What AzureFileSystem takes in pyarrow 19."""
    return account_name, account_key


def of_20(account_name, account_key=None, *, sas_token=None, **address):
    """What it takes in pyarrow 20."""
    return before_20(account_name, account_key, **address), sas_token


CLIENT = {"AZURE_CLIENT_ID": "me", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}


@pytest.mark.parametrize(
    ("older", "version", "variables", "message"),
    [
        (
            before_20,
            "19.0.1",
            {"AZURE_STORAGE_SAS_TOKEN": "sv=1"},
            f"{URI} cannot be opened with a SAS token, which pyarrow 19.0.1 does not take; "
            "expected pyarrow 20 or newer. Install it, or name AZURE_STORAGE_ACCOUNT_KEY.",
        ),
        *(
            (
                older,
                version,
                CLIENT,
                f"{URI} cannot be opened with a client, its secret and tenant, which pyarrow "
                f"{version} does not take; expected pyarrow 21 or newer. Install it, or name "
                "AZURE_STORAGE_ACCOUNT_KEY.",
            )
            for older, version in ((before_20, "18.0.0"), (of_20, "20.0.0"))
        ),
    ],
)
def test_an_older_pyarrow_is_told(monkeypatch, older, version, variables, message):
    monkeypatch.setattr("vaeudf.storage.azure.fs.AzureFileSystem", older)
    monkeypatch.setattr("vaeudf.storage.azure.pa.__version__", version)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "QUJD")
    open_azure(URI)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        open_azure(URI)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("uri", "variables", "text"),
    [
        (
            "abfss://photos",
            {},
            "abfss://photos names no account of Azure's; expected "
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…, or AZURE_STORAGE_ACCOUNT_NAME in "
            "the environment.",
        ),
        (
            "abfss://photos@shop",
            {},
            "abfss://photos@shop names no container of Azure's; expected "
            "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/…",
        ),
        (
            URI,
            {"AZURE_STORAGE_ENDPOINT": "http://here:1234/"},
            f"{URI} cannot be opened with AZURE_STORAGE_ENDPOINT http://here:1234/: delta-rs and "
            "pyarrow take it for different addresses; expected https://shop.blob.SUFFIX, or that "
            "the URI has the suffix and the environment no endpoint.",
        ),
        (
            URI,
            {"AZURE_STORAGE_TOKEN": "secret"},
            f"{URI} cannot be opened with AZURE_STORAGE_TOKEN, which pyarrow does not take; "
            "expected AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with "
            "AZURE_CLIENT_SECRET and AZURE_TENANT_ID.",
        ),
    ],
)
def test_what_does_not_say_enough(monkeypatch, uri, variables, text):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        filesystem(f"{uri}/posteriors")


def test_what_spark_is_given(monkeypatch):
    """Hadoop's connector takes the account from the URI alone."""
    assert spark_uri(f"{URI}/a b/*.jpg") == f"{URI}/a b/*.jpg"
    with pytest.raises(InputError, match=r"^az://photos names no account"):
        spark_uri("az://photos/a")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
    for uri in ("az://photos/a b", "abfs://photos/a b", "abfss://photos//a b"):
        assert spark_uri(uri) == f"{URI}/a b"
    assert spark_uri("az://photos") == f"{URI}/"


@pytest.mark.slow
def test_nobody_answers(monkeypatch):
    """Slow: Azure's library tries again, with pauses."""
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError) as error:
        filesystem(f"{URI}/posteriors")
    assert re.fullmatch(
        re.escape(f"{URI} has not answered for ")
        + r"\d+ seconds \(Fail to get a new connection for: http://127\.0\.0\.1:9.*\)\. Check its "
        r"name and address.*",
        str(error.value),
    )


# In a process of its own: where pyarrow handles no such error, it ends the process.
OPENED = f"from vaeudf.storage.locations import exists; exists('{URI}/posteriors')"


def test_nobody_says_who_one_is(tmp_path):
    """Neither the environment, nor a command az, nor an address that knows machines."""
    if os.environ.get("IDENTITY_ENDPOINT"):
        pytest.skip("this machine has an identity of Azure's")
    done = subprocess.run(
        [sys.executable, "-c", OPENED],
        env={**os.environ, "PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == (
        f"vaeudf.errors.InputError: {URI} cannot be opened: Azure's library finds nothing that "
        "says who you are. Expected AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, "
        "AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and AZURE_TENANT_ID, or a managed identity."
    )


class WithoutToken:
    """Says what pyarrow does of a token that is not given, in its words for another reason."""

    def get_file_info(self, path: str) -> None:
        raise pa.ArrowException(
            f"Unknown error: Check for Hierarchical Namespace support on '{path}' failed: "
            "N5Azure4Core11Credentials23AuthenticationExceptionE: GetToken(): error response: 401"
        )


def test_credentials_that_are_refused(monkeypatch):
    monkeypatch.setattr("vaeudf.storage.azure.open_azure", lambda uri: (WithoutToken(), "photos"))
    expected = (
        f"{URI} cannot be opened: Azure gives no token (GetToken(): error response: 401). Check "
        "AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID."
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        ask_azure(URI)


class Refusing(BaseHTTPRequestHandler):
    """Answers that somebody may not do that."""

    def refuse(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = refuse

    def log_message(self, *args: object) -> None:
        pass


def test_a_token_is_in_no_message(monkeypatch, tmp_path):
    """pyarrow tells the URL that was refused, with the token that signs it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    token = "sv=2021&sig=SECRET"
    files = fs.AzureFileSystem(
        "shop",
        sas_token=f"?{token}",
        blob_storage_scheme="http",
        dfs_storage_scheme="http",
        **addressed(f"127.0.0.1:{server.server_port}"),
    )
    monkeypatch.setattr("vaeudf.storage.locations._open_store", lambda *args: (files, "photos"))
    try:
        with pytest.raises(OSError, match="SECRET"):  # what is to be kept out
            files.get_file_info("photos/a")
        said = [ImageReader("image").read(f"{URI}/a.jpg", None, 1, 0)]
        for attempt in (
            lambda: check_writable(f"{URI}/posteriors"),
            lambda: check_output(f"{URI}/results", overwrite=False, marker="_RESULTS"),
            lambda: load_bundle(f"{URI}/model"),
        ):
            with pytest.raises(VaeUdfError) as error:
                attempt()
            said.append(str(error.value))
    finally:
        server.shutdown()
        server.server_close()
    assert all("SECRET" not in str(text) and "?…" in str(text) for text in said), said
