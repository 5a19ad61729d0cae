"""What a request without the right credential is told."""

from __future__ import annotations

import pytest

from mcp_edge.auth.resource import challenges
from mcp_edge.errors import CallerError
from mcp_edge.protocol.urls import Urls

HOST = Urls("https://notes.example")
BELOW = Urls("https://example.com/team/notes")
METADATA = 'resource_metadata="https://notes.example/.well-known/oauth-protected-resource'


def _told(refusal: CallerError) -> tuple[int, dict[str, str]]:
    return refusal.status, dict(refusal.headers)


def test_no_credential_is_no_error_and_names_what_to_ask_for() -> None:
    told = _told(challenges.missing(HOST, "/mcp", {"notes:write", "notes:read"}))
    header = f'Bearer {METADATA}/mcp", scope="notes:read notes:write"'
    assert told == (401, {"www-authenticate": header, "cache-control": "no-store"})


def test_a_credential_that_is_not_valid_is_invalid_token() -> None:
    told = _told(challenges.invalid(HOST, "/mcp", ["mcp"]))
    header = (
        'Bearer error="invalid_token", error_description="The access token is not valid here.", '
        f'{METADATA}/mcp", scope="mcp"'
    )
    assert told == (401, {"www-authenticate": header, "cache-control": "no-store"})


def test_a_missing_scope_names_every_scope_of_the_operation() -> None:
    told = _told(challenges.insufficient(HOST, "/mcp", ["notes:write", "notes:read"]))
    header = (
        'Bearer error="insufficient_scope", error_description="The access token does not allow this.", '
        f'{METADATA}/mcp", scope="notes:read notes:write"'
    )
    assert told == (403, {"www-authenticate": header, "cache-control": "no-store"})


@pytest.mark.parametrize(
    ("path", "endpoint"), [("/mcp", "/mcp"), ("/", "/mcp"), ("/sse", "/sse"), ("/messages", "/sse")]
)
def test_each_endpoint_is_sent_to_its_own_metadata(path: str, endpoint: str) -> None:
    assert (
        challenges.metadata_url(HOST, path) == f"https://notes.example/.well-known/oauth-protected-resource{endpoint}"
    )


def test_the_well_known_part_comes_before_the_path_of_the_public_url() -> None:
    url = challenges.metadata_url(BELOW, "/mcp")
    assert url == "https://example.com/.well-known/oauth-protected-resource/team/notes/mcp"


def test_a_description_cannot_end_its_quotes_or_the_header() -> None:
    refusal = challenges.invalid(HOST, "/mcp", [], 'a", error="none\r\nSet-Cookie: x=1\\é')
    header = f'Bearer error="invalid_token", error_description="a , error= none  Set-Cookie: x=1  ", {METADATA}/mcp"'
    assert refusal.headers["www-authenticate"] == header
