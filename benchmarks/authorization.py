"""What `auth=oauth` adds to a `tools/call`: CPU time and operations of the store, beside `auth=keys` in the same run.

Both take turns in one process, as in `benchmarks.cpu`; the difference is taken within each round.
"""

from __future__ import annotations

import asyncio
import gc
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from statistics import median, quantiles
from time import monotonic
from typing import Any, Literal

from benchmarks.contenders import bearer, platform
from benchmarks.cpu import CALLS, Block, block_of
from benchmarks.echo import create_server
from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.wire import Era, check, poster, prepare
from mcp_edge.app import create_app
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.clients.accepted import AcceptedClients
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.auth.server.model import Approval, AuthorizationRequest, Client
from mcp_edge.platform import Platform
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.urls import Urls
from mcp_edge.user import User

Auth = Literal["keys", "oauth"]
Store = Literal["memory", "sqlite"]
LANES: list[tuple[Era, Store]] = [
    ("handshake", "memory"),
    ("modern", "memory"),
    ("handshake", "sqlite"),
    ("modern", "sqlite"),
]
VERIFIER = "0123456789-abcdefghijklmnopqrstuvwxyz-0123456789"


class Counting:
    """A store that counts what it is asked."""

    def __init__(self, store: Any, counted: Counter[str]) -> None:
        self._store = store
        self._counted = counted

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def asked(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            self._counted[name] += 1
            return method(*args, **kwargs)

        return asked


async def token_at(host: Platform) -> str:
    """An access token, as a client gets one for the whole server."""

    async def scopes() -> Scopes:
        return Scopes()

    async def stands() -> bool:
        return True

    urls = Urls(host.settings.public_url or "")
    ring = KeyRing([key.get_secret_value() for key in host.settings.secret_keys])
    grants = Grants(host, ring, urls, scopes, lambda _: True, AcceptedClients(host.settings, {}).refusal)
    client = Client("dcr_" + "0" * 32, "Bench", ("http://127.0.0.1/callback",), "dcr")
    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    allowed = Scopes().baseline
    asked = AuthorizationRequest(client.id, client.redirect_uris[0], "", challenge, urls.issuer, allowed)
    code = await grants.approve(Approval(asked, client.name, User("dev", "user0"), allowed), since="", stands=stands)
    tokens = await grants.redeem(code, client, redirect_uri=None, verifier=VERIFIER, resource=None)
    return tokens.access_token


async def open_lane(stack: AsyncExitStack, era: Era, auth: Auth, store: Store) -> tuple[Block, Counter[str]]:
    """The block of one way of authentication, and what one call of it asks of the store."""
    host = await stack.enter_async_context(platform(auth=auth, store=store))
    headers = bearer(0) if auth == "keys" else {"authorization": f"Bearer {await token_at(host)}"}
    app = create_app(create_server, host)
    request = await prepare(era, poster(app), headers)
    check(await poster(app)(request))
    counted: Counter[str] = Counter()
    records, atomics = Counting(host.records, counted), Counting(host.atomics, counted)
    watched = poster(create_app(create_server, replace(host, records=records, atomics=atomics)))
    check(await watched(request))
    counted.clear()
    check(await watched(request))
    block = block_of(app, request)
    for _ in range(5):  # warm
        await block()
    return block, counted


async def measure(seconds: float) -> tuple[dict[tuple[Era, Auth, Store], list[float]], dict[Any, Counter[str]]]:
    """Microseconds per call, round by round, and operations per call, of each lane."""
    async with AsyncExitStack() as stack:
        blocks: dict[tuple[Era, Auth, Store], Block] = {}
        counted: dict[Any, Counter[str]] = {}
        for era, store in LANES:
            for auth in ("keys", "oauth"):
                blocks[era, auth, store], counted[era, auth, store] = await open_lane(stack, era, auth, store)
        gc.collect()
        gc.freeze()
        progress(f"auth: {len(blocks)} lanes taking turns for {seconds:.0f} s")
        costs: dict[tuple[Era, Auth, Store], list[float]] = {lane: [] for lane in blocks}
        deadline, rounds, order = monotonic() + seconds, 0, list(blocks)
        while monotonic() < deadline or rounds < 8:
            for lane in order:
                gc.collect()
                costs[lane].append(await blocks[lane]() / CALLS / 1000)
            order.reverse()
            rounds += 1
        gc.unfreeze()
        return costs, counted


def run(*, quick: bool) -> Part:
    """Measure every lane."""
    costs, counted = asyncio.run(measure(6 if quick else 40))
    rows: list[Row] = []
    targets: list[Target] = []
    data: dict[str, dict[str, float]] = {}
    for era, store in LANES:
        keys, oauth = costs[era, "keys", store], costs[era, "oauth", store]
        low, added, high = quantiles([o - k for o, k in zip(oauth, keys, strict=True)], n=4)
        operations = {auth: counted[era, auth, store] for auth in ("keys", "oauth")}
        more = operations["oauth"].total() - operations["keys"].total()
        where = "memory" if store == "memory" else "SQLite"
        for auth, cost in (("keys", keys), ("oauth", oauth)):
            asked = ", ".join(f"{count} {name}" for name, count in sorted(operations[auth].items())) or "nothing"
            against = f"+{added:.1f} µs ({low:.1f} - {high:.1f}), +{more} read" if auth == "oauth" else ""
            rows.append(
                Row("auth", f"{era}, auth {auth}, {where}", f"{median(cost):.1f} µs", f"store: {asked}", against)
            )
        data[f"{era}-{store}"] = {"keys_us": median(keys), "oauth_us": median(oauth), "added_us": added, "reads": more}
        targets.append(at_most(f"CPU that auth=oauth adds to a {era} call, {where}", added, 20, "µs"))
        targets.append(at_most(f"store reads that auth=oauth adds to a {era} call, {where}", more, 1, "", digits=0))
    return Part(rows, targets, data)
