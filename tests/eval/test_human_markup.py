import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.eval.human.markup import LONGEST, TAGS, shown

ALLOWED = re.compile(r"</?([a-z0-9]+)((?: [a-z]+=\"[^\"<>]*\")*) ?/?>")
PIECES = (
    *("<script>", "</script>", "<img src=x onerror=alert(1)>", "javascript:", "data:text/html,", "![a](", "[a](", ")"),
    *(
        "<a href='x'>",
        "`",
        "```\n",
        "**",
        "_",
        "> ",
        "- ",
        "1. ",
        "#",
        "|",
        "\n",
        "\n\n",
        "<!--",
        "&lt;",
        "&#x6a;",
        "x",
    ),
    *("<svg/onload=alert(1)>", "<style>", "http://e.org", "[x]: javascript:alert(1)", "\x00", "<iframe srcdoc=", '"'),
)


def tags(html: str) -> list[str]:
    found = []
    for tag in re.findall(r"<[^>]*>", html):
        match = ALLOWED.fullmatch(tag)
        assert match, tag
        assert match[1] in TAGS
        for name, value in re.findall(r"([a-z]+)=\"([^\"]*)\"", match[2]):
            assert name in ("href", "target", "rel", "start"), tag
            assert name != "href" or re.match(r"(https?|mailto):|(?![a-z]+:)", value, re.IGNORECASE), tag
        found.append(match[1])
    return found


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_whatever_is_written_only_harmless_tags_come_out(text: str) -> None:
    tags(shown(text))


@given(st.text(max_size=200))
def test_any_text_is_shown_and_nothing_only_for_nothing(text: str) -> None:
    html = shown(text)
    tags(html)
    assert bool(html) == bool(text.strip())


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** and `b<c`", "<p><strong>a</strong> and <code>b&lt;c</code></p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("# Big", "<h3>Big</h3>"),
        ("###### Small", "<h6>Small</h6>"),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("![a <map>](https://e.org/p.png)", "<p><em>[image: a &lt;map&gt;]</em></p>"),
        ("![](https://e.org/p.png)", "<p><em>[image: without a description]</em></p>"),
        ("4. four", '<ol start="4">\n<li>four</li>\n</ol>'),
        ("[1]: https://e.org", "<p>[1]: https://e.org</p>"),
        ("> > ", "<pre>&gt; &gt; </pre>"),
        ("a\r\n\r\nb", "<p>a</p>\n<p>b</p>"),
        ("", ""),
    ],
)
def test_markdown(text: str, html: str) -> None:
    assert shown(text).strip() == html


def test_links_open_elsewhere_and_tell_nothing() -> None:
    html = shown("[x](https://e.org 'title')")
    assert 'href="https://e.org"' in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html
    assert "title" not in html


def test_a_very_long_text_is_shown_as_it_is() -> None:
    text = "*a* <b> " * (LONGEST // 8 + 1)
    assert shown(text) == f"<pre>{text.replace('<', '&lt;').replace('>', '&gt;')}</pre>"


@pytest.mark.parametrize(
    "piece", ["[", ">", "*a ", "`", "- ", "![[", "|a|b|\n|-|-|\n", "<a ", "](", "1. ", "\\", "~~a"]
)
def test_nesting_without_end_ends(piece: str) -> None:
    tags(shown(piece * (20_000 // len(piece))))
