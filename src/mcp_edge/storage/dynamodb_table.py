"""How records lie in one DynamoDB table, with their keys, expiry and parts. `docs/storage.md` has the format.

A key's first two parts choose its partition, the whole key is its sort key; so a prefix must reach past its second "/",
and one that does not is refused: to answer it the whole table would have to be read. A value too large for an item lies
in parts of their own, written before the item that points to them, so it is there whole or not at all. Who replaces or
removes an item removes its parts: so parts are good for one attempt at writing an item, which may have been carried out
although its answer was lost, and whose parts may be gone again since.
"""

from __future__ import annotations

import logging
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from secrets import token_hex
from typing import Any

import anyio

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.storage.dynamodb_client import ConditionFailed, DynamoDBClient, DynamoDBRefused
from mcp_edge.storage.keys import checked, span

logger = logging.getLogger(__name__)

PART_BYTES = 384 * 1024
"""An item takes 400 KB, its keys and other attributes included."""
_PART_GRACE_S = 86400
_PAGE = 100
_TRIES = 4

Item = dict[str, Any]


def partition(key: str) -> str:
    """The first two parts of `key`: what must be read in order together shares them."""
    return "/".join(key.split("/", 2)[:2])


def partition_of_prefix(prefix: str) -> str:
    """The one partition that every key with this prefix is in.

    Raises:
        ValueError: keys with this prefix may be in several.
    """
    if prefix.count("/") < 2:
        raise ValueError(f"DynamoDB reads within the first two parts of a key, as in 'a/b/': {prefix!r} is shorter")
    return partition(prefix)


class DynamoDBTable:
    """One table and how records lie in it. Both stores share its client."""

    def __init__(
        self,
        client: DynamoDBClient,
        name: str,
        clock: Callable[[], float] = time.time,
        *,
        partitions: tuple[Callable[[str], str], Callable[[str], str]] = (partition, partition_of_prefix),
    ) -> None:
        """`partitions` gives the partition of a key and of a prefix.

        Raises:
            ConfigurationError: `name` can be no table's.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", name):
            raise ConfigurationError("dynamodb: needs a table's name: 3 to 255 letters, digits, '_', '-' or '.'")
        self.client = client
        self.name = name
        self.clock = clock
        self._of_key, self._of_prefix = partitions

    def place(self, kind: str, key: str) -> Item:
        """The primary key of a record; `kind` keeps the two ports apart."""
        return {"pk": {"S": f"{kind}/{self._of_key(key)}"}, "sk": {"S": key}}

    async def call(self, operation: str, **body: Any) -> Item:
        """`operation` on this table; raises what the client does."""
        return await self.client.call(operation, {"TableName": self.name, **body})

    async def find(self, kind: str, key: str) -> tuple[Item, bytes] | None:
        """The live item of `key` and its value, read consistently: a session must be seen by the very next request.

        An item whose parts are gone is lost. Left in place, it would make every read of it and of its neighbours fail,
        and nobody could create it anew: so it is removed.
        """
        try:
            place = self.place(kind, checked(key))
        except ValueError:
            return None
        gone: Item | None = None
        for _ in range(_TRIES):
            item = (await self.call("GetItem", Key=place, ConsistentRead=True)).get("Item")
            if item is None or not self.lives(item):
                return None
            value = await self.value(item)
            if value is not None:
                return item, value
            # Between the two reads another write took the parts away, and the record is a newer one now; or it is the
            # same still, and they are lost: they are there for as long as their item is.
            if item["blob"] == gone:
                await self._drop(place, item)
            gone = item["blob"]
        raise StoreUnavailable(f"DynamoDB: a large record in {self.name} was replaced each time that it was read")

    async def _drop(self, place: Item, item: Item) -> None:
        condition: Item = {
            "ConditionExpression": "#blob = :blob",
            "ExpressionAttributeNames": {"#blob": "blob"},
            "ExpressionAttributeValues": {":blob": item["blob"]},
        }
        with suppress(ConditionFailed):  # it is a newer one after all
            await self.call("DeleteItem", Key=place, **condition)
            key = item["sk"]["S"]
            logger.error("DynamoDB: the parts of the large record %s are gone; what is left of it is removed", key)
            await self.forget(item)

    def lives(self, item: Item) -> bool:
        """Whether its life is not over; DynamoDB itself removes it up to days later."""
        return "ttl" not in item or float(item["ttl"]["N"]) > self.clock()

    async def value(self, item: Item) -> bytes | None:
        """The value of an item; None when it lies in parts and they are gone."""
        if "value" in item:
            return b64decode(item["value"]["B"])
        wanted = int(item["parts"]["N"])
        parts = await self._query("pk = :pk", {":pk": {"S": f"p/{item['blob']['S']}"}}, wanted, lambda _: True)
        return b"".join(b64decode(part["value"]["B"]) for part in parts) if len(parts) == wanted else None

    async def range(self, kind: str, prefix: str, after: str, limit: int, **extra: Any) -> list[Item]:
        """At most `limit` live items of a prefix, in order.

        Raises:
            ValueError: the prefix does not name one partition.
        """
        first, end = span(prefix, after)
        pk = {"S": f"{kind}/{self._of_prefix(prefix)}"}
        if limit <= 0 or (end is not None and first >= end):
            return []
        condition, values = "pk = :pk AND sk >= :first", {":pk": pk, ":first": {"S": first or "\0"}}
        if end is not None:
            condition, values = "pk = :pk AND sk BETWEEN :first AND :end", {**values, ":end": {"S": end}}
        # BETWEEN includes its end.
        return await self._query(
            condition, values, limit, lambda item: item["sk"]["S"] != end and self.lives(item), **extra
        )

    async def _query(
        self, condition: str, values: Item, limit: int, wanted: Callable[[Item], bool], **extra: Any
    ) -> list[Item]:
        found: list[Item] = []
        start: Item = {}
        page = limit
        while True:
            answer = await self.call(
                "Query",
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                Limit=page,
                **start,
                **extra,
            )
            found += [item for item in answer["Items"] if wanted(item)]
            if len(found) >= limit or not (last := answer.get("LastEvaluatedKey")):
                return found[:limit]
            # Expired items took places on the first page: there may be many of them.
            start, page = {"ExclusiveStartKey": last}, max(page, _PAGE)

    async def write(self, operation: str, value: bytes, ttl_s: float | None, request: Callable[[Item], Item]) -> None:
        """Run a write that stores `value` in one item; `request` takes the item's attributes.

        The parts of what it replaced are removed, its own when it was refused. Those of an attempt whose answer was
        lost stay until they expire, unless the next attempt replaces them: it may still be carried out.

        Raises:
            ConditionFailed: as the client's `call`, which raises the rest too.
        """
        written = await self.attributes(value, ttl_s)

        def body() -> Item:
            return {"TableName": self.name, "ReturnValues": "ALL_OLD", **request(written)}

        async def again() -> Item:
            nonlocal written
            written = await self.attributes(value, ttl_s)
            return body()

        try:
            done = await self.client.call(operation, body(), again=again if "blob" in written else None)
        except ConditionFailed:
            await self.forget(written)
            raise
        old = done.get("Attributes")
        if old is not None and old.get("blob") != written.get("blob"):  # what a proxy has repeated finds itself
            await self.forget(old)

    async def attributes(self, value: bytes, ttl_s: float | None) -> Item:
        """`value` and its expiry as attributes; a large value's parts are stored on return."""
        ttl: Item = {} if ttl_s is None else {"ttl": {"N": str(ceil(self.clock() + ttl_s))}}
        if len(value) <= PART_BYTES:
            return {"value": {"B": b64encode(value).decode()}, **ttl}
        blob = token_hex(16)
        # They outlive the record, so that a record is never seen without them; so do those that no record points to.
        theirs: Item = {} if ttl_s is None else {"ttl": {"N": str(int(ttl["ttl"]["N"]) + _PART_GRACE_S)}}
        starts = range(0, len(value), PART_BYTES)
        for n, at in enumerate(starts):
            part = {"value": {"B": b64encode(value[at : at + PART_BYTES]).decode()}, **theirs}
            await self.call("PutItem", Item={**_part(blob, n), **part})
        return {"blob": {"S": blob}, "parts": {"N": str(len(starts))}, **ttl}

    async def forget(self, item: Item | None) -> None:
        """Remove the parts of an item that is no record any more.

        A failure leaves them behind, until they expire if they do, and nothing else: what was written is written.
        """
        if item and "blob" in item:
            with suppress(StoreUnavailable):
                for n in range(int(item["parts"]["N"])):
                    await self.call("DeleteItem", Key=_part(item["blob"]["S"], n))

    async def remove(self, kind: str, key: str) -> None:
        """Remove the record of `key`."""
        gone = await self.call("DeleteItem", Key=self.place(kind, checked(key)), ReturnValues="ALL_OLD")
        await self.forget(gone.get("Attributes"))


def _part(blob: str, n: int) -> Item:
    return {"pk": {"S": f"p/{blob}"}, "sk": {"S": f"{n:06}"}}


async def create_table(table: str, *, endpoint_url: str | None = None, region: str | None = None) -> None:
    """Make a table as the stores need it: billed per request, with expiry. One that is there stays as it is."""
    made = DynamoDBTable(DynamoDBClient(endpoint_url, region), table)
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    try:
        with suppress(DynamoDBRefused):  # it is there
            await made.call(
                "CreateTable",
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            )
        while (await made.call("DescribeTable"))["Table"]["TableStatus"] != "ACTIVE":  # noqa: ASYNC110 - it is far away
            await anyio.sleep(0.5)
        with suppress(DynamoDBRefused):  # it is on
            await made.call("UpdateTimeToLive", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    finally:
        await made.client.aclose()
