"""Signed calls to DynamoDB's HTTP API, and when they are repeated. It knows no record, only operations and their JSON.

AWS's own code finds the credentials and signs (botocore); h11 over asyncio's streams carries the bytes. docs/storage.md
has the measurements that chose them.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import h11
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, EnvProvider, RefreshableCredentials

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage.dynamodb_connection import Connection
from mcp_edge.text.masking import masked_url

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "LimitExceededException",
        "TransactionInProgressException",
    }
)
_UNUSABLE = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
    }
)
"""What an operator repairs: the table's name, the credentials, the policy, the machine's clock."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_IDLE_MOST = 16


class ConditionFailed(Exception):
    """The condition of a write did not hold. `item` is what was there, None for nothing."""

    def __init__(self, item: dict[str, Any] | None, *, uncertain: bool) -> None:
        super().__init__("the condition did not hold")
        self.item = item
        self.uncertain = uncertain
        """An earlier attempt of the same call may have been carried out: its answer was lost."""


class DynamoDBRefused(Exception):
    """DynamoDB understood the request and will never carry it out: a mistake of ours."""


class _NotSent(Exception):
    """No connection: nothing can have been carried out."""


class DynamoDBClient:
    """One endpoint and its credentials. Connections belong to the event loop that opened them."""

    def __init__(
        self, endpoint_url: str | None, region: str | None, *, patience_s: float = 10, timeout_s: float = 3
    ) -> None:
        """An attempt may take `timeout_s`; for `patience_s`, a call begins further ones.

        Raises:
            ConfigurationError: there is no region, or the endpoint is no URL.
        """
        self.region = region or _region()
        self.endpoint_url = endpoint_url or _endpoint(self.region)
        parts = urlsplit(self.endpoint_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"dynamodb: {masked_url(self.endpoint_url)!r} is no endpoint; use https://HOST[:PORT]"
            )
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._tls else 80)
        self._address = parts.netloc.rpartition("@")[2].removesuffix(":443" if self._tls else ":80")
        self._url = f"{parts.scheme}://{self._address}/"
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._idle: dict[asyncio.AbstractEventLoop, list[Connection]] = {}
        self._credentials: Credentials | None = None
        # Made here, because on Lambda the time before the first request has more CPU and costs nobody a wait.
        trusted = os.environ.get("AWS_CA_BUNDLE") or None
        self._context = ssl.create_default_context(cafile=trusted) if self._tls else None
        self._worked = False
        if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in os.environ:
            importlib.import_module("botocore.session")  # so that SnapStart's snapshot holds it

    async def call(
        self,
        operation: str,
        body: Mapping[str, Any],
        *,
        again: Callable[[], Awaitable[Mapping[str, Any]]] | None = None,
    ) -> dict[str, Any]:
        """What DynamoDB answers to `operation`, tried again while it is throttled, broken or silent.

        `again` makes the body anew for the attempt after one that may have been carried out.

        Raises:
            ConditionFailed: the condition in `body` did not hold.
            StoreUnavailable: it did not succeed within the client's patience. A write may have been carried out.
            ConfigurationError: no credentials, no such table, or no permission, found before anything worked.
        """
        payload = _json(body)
        deadline = anyio.current_time() + self._patience_s
        uncertain = False
        for attempt in count():
            cause: Exception | None = None
            lost = False
            try:
                status, raw = await self._attempt(operation, payload)
            except _NotSent as e:
                cause, problem = e, str(e)
            except (OSError, h11.ProtocolError) as e:
                cause, problem, lost = e, f"{type(e).__name__} {e}".strip(), True
            else:
                if status == 200:
                    self._worked = True
                    return json.loads(raw)
                kind, answer = _error(raw)
                if kind == "ConditionalCheckFailedException":
                    raise ConditionFailed(answer.get("Item"), uncertain=uncertain)
                if status < 500 and kind not in _THROTTLED:
                    raise self._refusal(body, status, kind, answer)
                # A 500 may come after the write was carried out (the API's reference says so); a throttled one was not.
                lost = status >= 500
                problem = f"{status} {kind}".strip()
            uncertain = uncertain or lost
            pause_s = random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))  # noqa: S311 - jitter
            if anyio.current_time() + pause_s >= deadline:
                raise StoreUnavailable(f"DynamoDB: no success in {self._patience_s:g} s: {problem}") from cause
            await anyio.sleep(pause_s)
            if lost and again is not None:
                payload = _json(await again())
        raise AssertionError

    async def aclose(self) -> None:
        """Close this event loop's connections; a later use opens others."""
        for connection in self._idle.pop(asyncio.get_running_loop(), []):
            await connection.aclose()

    async def _attempt(self, operation: str, payload: bytes) -> tuple[int, bytes]:
        headers = await self._signed(operation, payload)
        idle = self._connections()
        connection = None
        while idle and connection is None:
            connection = idle.pop()
            if not connection.fit:
                connection.close()
                connection = None
        reused = connection is not None
        connection = connection or await self._connect()
        try:
            with anyio.fail_after(self._timeout_s):
                answer = await connection.exchange(headers, payload)
        except BaseException:
            connection.close()
            if reused:
                # What was open beside it is as old: an environment that was frozen comes back to closed connections.
                while idle:
                    idle.pop().close()
            raise
        if connection.next_cycle() and len(idle) < _IDLE_MOST:
            idle.append(connection)
        else:
            connection.close()
        return answer

    def _connections(self) -> list[Connection]:
        loop = asyncio.get_running_loop()
        if loop not in self._idle:
            # The connections of a loop that has ended cannot be closed, only let go.
            self._idle = {known: idle for known, idle in self._idle.items() if not known.is_closed()}
            self._idle[loop] = []
        return self._idle[loop]

    async def _connect(self) -> Connection:
        try:
            with anyio.fail_after(self._timeout_s):
                return Connection(*await asyncio.open_connection(self._host, self._port, ssl=self._context))
        except OSError as e:
            raise _NotSent(f"{self._address} cannot be reached: {e}") from e

    async def _signed(self, operation: str, payload: bytes) -> list[tuple[str, str]]:
        if self._credentials is None:
            # The environment comes first in AWS's own chain too, and asking it alone spares the import of the rest.
            self._credentials = EnvProvider().load() or await anyio.to_thread.run_sync(_from_chain)
        if isinstance(self._credentials, RefreshableCredentials) and self._credentials.refresh_needed():
            frozen = await anyio.to_thread.run_sync(self._credentials.get_frozen_credentials)
        else:
            frozen = self._credentials.get_frozen_credentials()
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        request = AWSRequest(method="POST", url=self._url, headers=headers, data=payload)
        SigV4Auth(frozen, "dynamodb", self.region).add_auth(request)
        signed = [(name, str(value)) for name, value in request.headers.items()]
        return [("Host", self._address), ("Content-Length", str(len(payload))), *signed]

    def _refusal(self, body: Mapping[str, Any], status: int, kind: str, answer: Mapping[str, Any]) -> Exception:
        said = f"DynamoDB at {self._address} refused the table {body.get('TableName')}: {status} {kind}:"
        said += f" {answer.get('message') or answer.get('Message')}"
        if kind not in _UNUSABLE:
            return DynamoDBRefused(said)
        # What worked before may work again: a policy or a table is being changed, a token is about to be renewed.
        return StoreUnavailable(said) if self._worked else ConfigurationError(said)


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _error(raw: bytes) -> tuple[str, dict[str, Any]]:
    try:
        answer: dict[str, Any] = json.loads(raw)
        return str(answer.get("__type", "")).rpartition("#")[2], answer
    except (ValueError, AttributeError):
        return "", {"message": raw[:200].decode(errors="replace")}  # something in between has answered


def _region() -> str:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _region_of_profile()
    if not region or not re.fullmatch(r"[a-z0-9-]{1,64}", region):
        raise ConfigurationError("dynamodb: set AWS_REGION to the table's region")
    return region


def _region_of_profile() -> str | None:
    from botocore.session import Session  # noqa: PLC0415 - 40 ms that a host with a full environment does not need

    return Session().get_config_variable("region")


def _endpoint(region: str) -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or os.environ.get("AWS_ENDPOINT_URL")
    return named or f"https://dynamodb.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _from_chain() -> Credentials:
    from botocore.session import Session  # noqa: PLC0415 - as above

    found = Session().get_credentials()
    if found is None:
        raise ConfigurationError("dynamodb: no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret")
    return found
