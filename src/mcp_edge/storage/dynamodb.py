"""Both ports on one DynamoDB table, which `dynamodb_table` lays out and `dynamodb_client` reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_hex

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.dynamodb_client import ConditionFailed, DynamoDBClient
from mcp_edge.storage.dynamodb_table import DynamoDBTable, Item
from mcp_edge.storage.keys import checked
from mcp_edge.storage.ports import Entry

PAST = 16
"""Versions for which a record remembers which call wrote it."""

_NAMES = {f"#{name}": name for name in ("ttl", "value", "blob", "parts", "version", "nonce", "past")}


class DynamoDBRecords:
    """`RecordStore` on a `DynamoDBTable`. Every read is consistent."""

    def __init__(self, table: DynamoDBTable) -> None:
        self._table = table

    async def get(self, key: str) -> bytes | None:
        found = await self._table.find("r", key)
        return None if found is None else found[1]

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        place = self._table.place("r", checked(key))
        await self._table.write("PutItem", value, ttl_s, lambda written: {"Item": {**place, **written}})

    async def delete(self, key: str) -> None:
        await self._table.remove("r", key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        names = {"ProjectionExpression": "sk, #ttl", "ExpressionAttributeNames": {"#ttl": "ttl"}}
        return [item["sk"]["S"] for item in await self._table.range("r", prefix, after, limit, **names)]

    async def sweep(self, *, limit: int = 1000) -> int:
        """Nothing: DynamoDB removes what has expired itself, at no cost."""
        return 0

    async def aclose(self) -> None:
        """Close this event loop's connections, which both stores share; a later use opens others."""
        await self._table.client.aclose()


class DynamoDBAtomics:
    """`AtomicStore` on a `DynamoDBTable`: each write is one conditional write of one item.

    A write is repeated when its answer is lost, and the repetition may come after other writers': so a record remembers
    which calls wrote its last `PAST` versions. A call that finds itself there has won, and is not carried out twice.
    """

    def __init__(self, table: DynamoDBTable) -> None:
        self._table = table

    async def create(self, key: str, value: bytes, *, nonce: str, ttl_s: float | None = None) -> bool:
        place, call = self._table.place("a", checked(key)), token_hex(4)
        own = {"version": {"N": "1"}, "nonce": {"S": nonce}, "past": {"M": {"1": {"S": call}}}}
        condition = {
            "ConditionExpression": "attribute_not_exists(pk) OR #ttl <= :now OR (#version = :one AND #nonce = :nonce)",
            "ExpressionAttributeNames": _names("#ttl", "#version", "#nonce"),
            "ExpressionAttributeValues": {":now": self._now(), ":one": {"N": "1"}, ":nonce": {"S": nonce}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            await self._table.write(
                "PutItem", value, ttl_s, lambda written: {"Item": {**place, **written, **own}, **condition}
            )
        except ConditionFailed as e:
            return self._carried_out(e, 1, call)
        return True

    async def get(self, key: str) -> Entry | None:
        found = await self._table.find("a", key)
        return None if found is None else Entry(key, found[1], int(found[0]["version"]["N"]))

    async def swap(self, key: str, value: bytes, *, version: int, nonce: str, ttl_s: float | None = None) -> int | None:
        place, call, new = self._table.place("a", checked(key)), token_hex(4), version + 1
        values = {
            ":version": {"N": str(version)},
            ":next": {"N": str(new)},
            ":nonce": {"S": nonce},
            ":now": self._now(),
            ":call": {"S": call},
        }

        def request(written: Item) -> Item:
            assigned = [f"#{name} = :{name}" for name in written]
            assigned += ["#version = :next", "#nonce = :nonce", "#past.#next = :call"]
            removed = [f"#{name}" for name in ("value", "blob", "parts", "ttl") if name not in written]
            return {
                "Key": place,
                "UpdateExpression": f"SET {', '.join(assigned)} REMOVE {', '.join(['#past.#last', *removed])}",
                "ConditionExpression": "(#version = :version OR (#version = :next AND #nonce = :nonce))"
                " AND (attribute_not_exists(#ttl) OR #ttl > :now)",
                "ExpressionAttributeNames": {**_NAMES, "#next": str(new), "#last": str(new - PAST)},
                "ExpressionAttributeValues": {**{f":{name}": written[name] for name in written}, **values},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }

        try:
            await self._table.write("UpdateItem", value, ttl_s, request)
        except ConditionFailed as e:
            return new if self._carried_out(e, new, call) else None
        return new

    async def delete(self, key: str) -> None:
        await self._table.remove("a", key)

    async def read(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        entries: list[Entry] = []
        for item in await self._table.range("a", prefix, after, limit):
            key, value = item["sk"]["S"], await self._table.value(item)
            # Its parts are gone: another write came after the query, and the record is what that made it.
            entry = await self.get(key) if value is None else Entry(key, value, int(item["version"]["N"]))
            if entry is not None:
                entries.append(entry)
        return entries

    async def sweep(self, *, limit: int = 1000) -> int:
        """Nothing: DynamoDB removes what has expired itself, at no cost."""
        return 0

    async def aclose(self) -> None:
        """Close this event loop's connections, which both stores share; a later use opens others."""
        await self._table.client.aclose()

    def _now(self) -> Item:
        return {"N": repr(self._table.clock())}

    def _carried_out(self, failed: ConditionFailed, version: int, call: str) -> bool:
        """Whether the write that was refused had been carried out before, as `version`, its answer lost.

        Raises:
            StoreUnavailable: so many writes came since that nobody can tell.
        """
        item = failed.item
        if item is None or not failed.uncertain:
            return False
        writer = item["past"]["M"].get(str(version))
        if writer is None and int(item["version"]["N"]) > version:
            raise StoreUnavailable("DynamoDB: an answer was lost, and whether the write was done is not known")
        return writer == {"S": call}


def _names(*used: str) -> dict[str, str]:
    # DynamoDB refuses a name that its expressions do not use.
    return {name: _NAMES[name] for name in used}


def open_dynamodb(
    table: str, *, endpoint_url: str | None = None, region: str | None = None, clock: Callable[[], float] = time.time
) -> tuple[DynamoDBRecords, DynamoDBAtomics]:
    """Both ports on `table`, which must exist. `clock` gives epoch seconds.

    Where they are not given, AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL and AWS_REGION say endpoint and region.

    Raises:
        ConfigurationError: `table` is no table's name, or there is no region.
    """
    opened = DynamoDBTable(DynamoDBClient(endpoint_url, region), table, clock)
    return DynamoDBRecords(opened), DynamoDBAtomics(opened)
