"""Templates: what is put into one is text, whatever it says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_edge.pages import consent, error
from mcp_edge.pages.html import Html, app_name, html, is_web_url, joined, link, plain
from mcp_edge.pages.layout import source
from mcp_edge.pages.style import STYLE


def test_a_value_is_escaped_and_markup_is_not() -> None:
    assert html("<p>{a}{b}{c}</p>", a="<&\"'>", b=Html("<br>"), c=None) == "<p>&lt;&amp;&quot;&#x27;&gt;<br></p>"
    assert html("{n}", n=7) == "7"
    assert joined([Html("<i>"), html("{x}", x="<")]) == "<i>&lt;"


def test_braces_of_a_value_are_no_names() -> None:
    assert html("{a}", a="{b}{a.__class__}", b="no") == "{b}{a.__class__}"


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    made = html('<a title="{t}">{t}</a>', t=text)
    inside = made.removeprefix('<a title="').removesuffix("</a>")
    assert made == f'<a title="{inside}</a>'
    assert not set("<'") & set(inside)
    assert inside.count('"') == 1


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "//evil.example",
        "/apps",
        "https://",
        "https://user@evil.example",
        "https:\\\\evil.example",
        "https://a b",
        "https://[::1",
        "ftp://a.example",
        "",
    ],
)
def test_only_whole_web_addresses_become_links(url: str) -> None:
    assert not is_web_url(url)
    assert link(url, "<x>") == "&lt;x&gt;"


@pytest.mark.parametrize("url", ["https://a.example", "http://a.example:8000/b?c=d&e#f"])
def test_a_web_address_becomes_a_link_that_tells_nothing(url: str) -> None:
    escaped = url.replace("&", "&amp;")
    assert link(url, "x") == f'<a href="{escaped}" rel="noopener noreferrer nofollow">x</a>'


@given(st.text())
def test_a_name_is_one_bounded_line(text: str) -> None:
    shown = plain(text, 20)
    assert len(shown) <= 20
    assert shown.isprintable()
    assert shown == shown.strip()


def test_what_hides_or_turns_text_is_taken_out() -> None:
    assert plain("a\u202eb\u200bc\u0000d\u2066e\ud800") == "abcde"
    assert plain(" \t a \r\n b\u2028") == "a b"
    assert plain("Ünïcødé 名前") == "Ünïcødé 名前"
    assert plain("\u3164\u115f \u2800\ufe0f\u034f\uffa0\U000e0100") == ""
    assert plain("Cla\u3164ude") == "Claude"
    assert plain("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 4 + "b"
    assert plain("Tiếng Việt שָׁלוֹם ภาษาไทยที่ हिन्दी") == "Tiếng Việt שָׁלוֹם ภาษาไทยที่ हिन्दी"


def test_an_app_has_a_name_or_is_called_unnamed() -> None:
    assert [app_name(text) for text in ("", " ", "\u3164", "\u200b\u2800")] == ["An unnamed app"] * 4
    assert app_name("A \u201cgood\u201d app") == "A 'good' app"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/x", "https://a.example"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1:80"),
        ("http://[::1]:80/x", "http:"),
        ("https://a.example;script-src", "https:"),
        ("https://a.example, *", "https:"),
        ("https://*.example", "https:"),
        ("cursor://x/y", "cursor:"),
        ("no scheme; script-src *", "'self'"),
    ],
)
def test_a_source_never_adds_to_the_policy(url: str, expected: str) -> None:
    assert source(url) == expected


@pytest.mark.parametrize("kind", ["static", "cimd", "dcr"])
def test_a_clients_own_page_is_a_link_only_on_the_web(kind: str) -> None:
    def shown(uri: str) -> str:
        return consent.page(
            consent.Consent(
                action="/consent",
                apps="/apps",
                flow="f",
                client_name="App",
                client_kind=kind,  # type: ignore[arg-type] # a parameter
                client_site="app.example/client.json",
                client_uri=uri,
                redirect_host="app.example",
                redirect_is_local=False,
                resource="https://mcp.example",
                options=(consent.Option("mcp", "use it"),),
                offer_read_only=False,
                user_name="",
                provider="",
            )
        ).body

    assert '<a href="https://app.example/home"' in shown("https://app.example/home")
    assert "javascript" not in shown("javascript:alert(1)")
    assert ("app.example/client.json</span>" in shown("").split("Returns to")[0]) == (kind == "cimd")
    assert ("nobody has verified" in shown("")) == (kind == "dcr")


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_edges_stand_out_in_both_schemes(scheme: int) -> None:
    block = STYLE.decode().split(":root {")[1 + scheme].split("}")[0]
    colours = dict(part.strip().split(": ") for part in block.split(";") if part.strip().startswith("--"))
    text = [
        ("--ink", "--card"),
        ("--ink", "--paper"),
        ("--quiet", "--card"),
        ("--accent", "--card"),
        ("--on-accent", "--accent"),
        ("--danger", "--card"),
        ("--note-ink", "--note"),
    ]

    assert {pair: _contrast(colours[pair[0]], colours[pair[1]]) >= 4.5 for pair in text} == dict.fromkeys(text, True)
    assert _contrast(colours["--edge"], colours["--card"]) >= 3


def test_no_message_hides_turns_or_runs_on() -> None:
    message = "Wrong.\u202e\u00a0Call\u200b " + "x" * 5000
    for shown in (
        error.page("No", message).body,
        error.way_back(message, url="https://a.example", host="a.example").body,
    ):
        (told,) = re.findall(r'role="alert">(.*?)</p>', shown)
        assert told.startswith("Wrong. Call xxx")
        assert (told.isprintable(), len(told)) == (True, 500)
