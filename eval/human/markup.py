"""Answers in Markdown, shown safely, and in the same way for both sides.

HTML that stands in an answer is shown as text. What the Markdown gives is cleaned once more by an allow-list, so that
a slip of the one is caught by the other. Images are not fetched (their address would tell somebody who is looking,
and perhaps the model's name): their description stands in their place. Links lead to the web or to mail alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import escape

LONGEST = 100_000  # characters; a longer text is shown as it is
SCHEMES = {"http", "https", "mailto"}
TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


@lru_cache(maxsize=512)
def shown(text: str) -> str:
    """HTML for an answer; one of over 100,000 characters, or of which nothing would be left, is shown as it is."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    html = "" if len(text) > LONGEST else _cleaned(_markdown().render(text))
    if not nh3.clean(html, tags=set()).strip():  # too long, or Markdown that draws nothing: blank quotes and lists
        return f"<pre>{escape(text)}</pre>" if text.strip() else ""
    return html


def _cleaned(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    # Line breaks stay: models write lists and verse without the two blanks that Markdown wants.
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable("reference")  # a line such as "[1]: address" would vanish
    parser.add_render_rule("image", _image)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    return parser


def _image(_: RendererHTML, tokens: Sequence[Token], at: int, *_more: Any) -> str:
    alt = "".join(child.content for child in tokens[at].children or ())
    return f"<em>[image: {escape(alt or 'without a description')}]</em>"


def _heading(_: RendererHTML, tokens: Sequence[Token], at: int, *_more: Any) -> str:
    """An answer's headings stand below the page's own, which are of levels 1 and 2."""
    token = tokens[at]
    return f"<{'/' if token.nesting < 0 else ''}h{min(int(token.tag[1]) + 2, 6)}>"
