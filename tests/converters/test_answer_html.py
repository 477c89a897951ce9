"""Answers saved as a page's HTML, and the texts that only look like it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.converters.html import to_markdown

CODE = (
    '<pre><div class="bg-black mb-4"><div class="flex px-4 text-xs"><span>python</span>'
    '<button class="flex gap-2"><svg></svg>Copy code</button></div><div class="p-4">'
    '<code class="hljs language-python"><span class="hljs-keyword">for</span> x in xs:\n'
    "    print(x &lt; 3)\n\n\n\ny = 1\n</code></div></div></pre>"
)


def test_a_page_becomes_markdown_with_fences_named_and_buttons_gone() -> None:
    html = (
        '<div class="markdown prose"><p>Use <strong>my_list</strong>, 2 * 3:</p>' + CODE + "<ol><li>One</li>"
        "<li>Two</li></ol><h3>End</h3><p><code>a_b</code> &amp; c</p></div>"
    )
    assert to_markdown(html) == (
        "Use **my_list**, 2 * 3:\n\n```python\nfor x in xs:\n    print(x < 3)\n\n\n\ny = 1\n```\n\n"
        "1. One\n2. Two\n\n### End\n\n`a_b` & c"
    )


def test_the_language_comes_from_the_header_where_the_class_has_none() -> None:
    block = "<p>x</p><pre><div>rust<button>Copy code</button></div><code>let a = 1;</code></pre>"
    assert to_markdown(block).endswith("```rust\nlet a = 1;\n```")
    unnamed = "<p>x</p><pre><div>Copy code</div><code>let a = 1;</code></pre>"
    assert to_markdown(unnamed).endswith("```\nlet a = 1;\n```")


def test_a_table_without_a_head_keeps_its_rows() -> None:
    assert to_markdown("<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>") == (
        "| a | b |\n| --- | --- |\n| 1 | 2 |"
    )


def test_a_counter_of_answers_goes() -> None:
    assert to_markdown("2 / 3<p>Yes.</p>") == "Yes."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b > c",
        "Use `<p>` for a paragraph.\n\n```html\n<p>x</p>\n```",
        "<div>\n  a page that goes on in words",
        "<?php echo '<p>x</p>' ?>",
        "<!DOCTYPE html><html><body><p>x</p></body></html>",
        "<Button>Save</Button>",
        "<https://example.org>",
        "pythonCopy code",
        "1 / 2 = 0.5\n\n\n\nso a half",
        "<div>" * 3000 + "deep" + "</div>" * 3000,
        '<ol start="²"><li>x</li></ol>',
    ],
)
def test_everything_else_is_left_alone(text: str) -> None:
    assert to_markdown(text) == text


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["<p>", "</p>", "<pre>", "<code>", "</pre>", "<![", "<!--", "<td colspan=9>", "&#x", "a"]))
)
def test_broken_markup_does_not_raise(pieces: list[str]) -> None:
    to_markdown("<div>" + "".join(pieces) + "</div>")
