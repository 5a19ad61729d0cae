"""What arrives at the endpoint is what was signed, over TLS that is verified, with credentials that are renewed."""

from __future__ import annotations

import datetime
import hmac
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.dynamodb import open_dynamodb
from mcp_edge.storage.dynamodb_client import DynamoDBClient
from tests.storage.faulty import FaultyProxy, faulty_proxy

pytestmark = pytest.mark.anyio

CONTAINER = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


@pytest.fixture
async def proxy(dynamodb: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(dynamodb) as proxy:
        yield proxy


def signature(head: bytes, payload: bytes, secret: str) -> str:
    """What SigV4 makes of a request as it arrived (IAM User Guide, "Create a signed AWS API request")."""
    lines = head.decode().split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    found = re.search(r"Credential=[^/]+/(\S+), SignedHeaders=(\S+), ", headers["authorization"])
    assert found is not None
    scope, names = found[1], found[2].split(";")
    assert {"host", "x-amz-date", "x-amz-target"} <= set(names)
    canonical = "".join(f"{name}:{headers[name]}\n" for name in names)
    request = f"POST\n/\n\n{canonical}\n{found[2]}\n{sha256(payload).hexdigest()}"
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + secret.encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


async def test_what_arrives_is_what_was_signed(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/token+of=the role")
    client = DynamoDBClient(proxy.url, "eu-north-1")
    await client.call("ListTables", {"Limit": 7})
    (head,) = proxy.heads
    sent = re.search(rb"Signature=([0-9a-f]{64})", head)
    assert sent is not None
    assert sent[1].decode() == signature(head, b'{"Limit":7}', "test")
    assert b"/eu-north-1/dynamodb/aws4_request" in head
    assert b"a/token+of=the role" in head
    await client.aclose()


def certificate(folder: Path) -> Path:
    """A file with a key and its own certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "tests.pem"
    path.write_bytes(plain + signed.public_bytes(pem))
    return path


async def test_an_https_endpoint_is_used_when_its_certificate_is_trusted_and_only_then(
    dynamodb: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    async with faulty_proxy(dynamodb, context) as proxy:
        client = DynamoDBClient(proxy.url, None, patience_s=0.1)
        with pytest.raises(StoreUnavailable, match=r"cannot be reached.*CERTIFICATE_VERIFY_FAILED"):
            await client.call("DescribeTable", {"TableName": table})
        assert proxy.heads == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
        records, _ = open_dynamodb(table, endpoint_url=proxy.url)
        for n in range(3):
            await records.put("a/b", b"%d" % n * 300_000)
            assert await records.get("a/b") == b"%d" % n * 300_000
        await records.aclose()


async def test_credentials_of_a_role_are_renewed_before_they_end(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    async def give(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            given.append(f"token{len(given)}")
            soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
            body = {"AccessKeyId": "role", "SecretAccessKey": "test", "Token": given[-1]}
            text = json.dumps({**body, "Expiration": soon.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
            await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text)

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/role")
    client = DynamoDBClient(proxy.url, None)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, give)
        for _ in range(2):
            await client.call("ListTables", {})
        tasks.cancel_scope.cancel()
    sent = [re.search(r"(?i)x-amz-security-token: (\w+)", head.decode()) for head in proxy.heads]
    assert [found and found[1] for found in sent] == ["token1", "token2"]
    assert given == ["token0", "token1", "token2"]
    await client.aclose()


@pytest.mark.parametrize(("variable", "imported"), [("AWS_ACCESS_KEY_ID", False), (CONTAINER, True)])
def test_what_finds_a_role_s_credentials_is_imported_before_a_snapshot_and_only_where_it_is_needed(
    variable: str, imported: bool
) -> None:
    code = f"""
import sys
from mcp_edge.storage.dynamodb_client import DynamoDBClient
DynamoDBClient("http://127.0.0.1:1", "eu-west-1")
sys.exit(("botocore.session" in sys.modules) != {imported})
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {variable: "http://127.0.0.1:2/"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
