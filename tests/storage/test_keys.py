"""The range of a prefix holds the keys that start with it, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_edge.storage.keys import checked, span

# Few letters, so that prefixes meet keys, and the ends of every stretch of the alphabet.
LETTERS = st.sampled_from("\x00\x01/a\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010fffe\U0010ffff")
TEXT = st.text(LETTERS, max_size=4)


@given(key=TEXT, prefix=TEXT, after=TEXT)
def test_a_key_is_in_the_range_when_it_starts_with_the_prefix_and_follows_after(
    key: str, prefix: str, after: str
) -> None:
    first, end = span(prefix, after)
    inside = key >= first and (end is None or key < end)
    assert inside == (key.startswith(prefix) and (key > after or (key, after) == ("", "")))


@given(a=TEXT, b=TEXT)
def test_texts_are_in_the_order_of_their_bytes(a: str, b: str) -> None:
    assert (a < b) == (a.encode() < b.encode())


@pytest.mark.parametrize(("prefix", "after"), [("\ud800", ""), ("a", "\udfff"), ("\ud83d", "\ude00")])
def test_a_range_of_text_that_is_no_unicode_is_refused(prefix: str, after: str) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        span(prefix, after)


def test_a_key_of_512_bytes_is_the_longest() -> None:
    assert checked("é" * 256) == "é" * 256
    with pytest.raises(ValueError, match="512 bytes, not 513"):
        checked("é" * 256 + "a")
