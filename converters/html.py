"""Answers that were saved as the HTML of a chat page, back to Markdown.

The options of markdownify are frozen here: its output belongs to what a converter's `VERSION` stands for.
"""

import re
from warnings import catch_warnings, simplefilter

from bs4 import BeautifulSoup, ParserRejectedMarkup, Tag
from markdownify import ATX, MarkdownConverter

# What a page's answer begins with. A document or a component that the model wrote begins otherwise.
_PAGE = re.compile(r"<(?:div|p|pre|ol|ul|h[1-6]|table|blockquote)\b[^>]*>.*</\w+>", re.DOTALL | re.IGNORECASE)
# "2 / 3": which of several answers the page showed.
_COUNTER = re.compile(r"\A\s*\d+ / \d+\s*(?=<|\n)")
_COPY = re.compile(r"\s*Copy code\s*\Z")
_FENCE = re.compile(r"^```.*?^```[ \t]*$", re.DOTALL | re.MULTILINE)
_GAP = re.compile(r"\n{3,}")


def to_markdown(text: str) -> str:
    """Turn the HTML of an answer into Markdown; a text that is no such HTML comes back as it is.

    Page HTML begins with a block tag (after a counter like "2 / 3") and ends with a closing tag; anything else, code
    samples among them, is left alone. Code blocks become fences named by their language, without the page's header
    and "Copy code" button; `div` and `span` vanish; runs of blank lines outside of code become one. Markup that
    cannot be parsed, or is nested too deep, is left alone too.
    """
    html = _COUNTER.sub("", text).strip()
    if not _PAGE.fullmatch(html):
        return text
    try:
        with catch_warnings():
            simplefilter("ignore")  # bs4 warns about markup that looks like a file name or like XML
            soup = BeautifulSoup(html, "html.parser")
        for block in soup.find_all("pre"):
            _keep_code_alone(soup, block)
        markdown = _CONVERTER.convert_soup(soup)
    except (RecursionError, ParserRejectedMarkup, ValueError, AssertionError):
        return text
    return _single_gaps(markdown).strip()


def _keep_code_alone(soup: BeautifulSoup, block: Tag) -> None:
    """Empty a `pre` of the page's header (language, button), and note the language where the fence finds it."""
    code = block.find("code")
    if not isinstance(code, Tag):
        return
    body = code.get_text()
    header = block.get_text().partition(body)[0] if body else ""
    names = code.get_attribute_list("class")
    language = next((n.removeprefix("language-") for n in names if n and n.startswith("language-")), "")
    block.clear()
    inner = soup.new_tag("code")
    inner.string = body
    block.append(inner)
    block["data-language"] = language or _COPY.sub("", header).strip()


def _language(block: Tag) -> str:
    name = block.get("data-language")
    return name if isinstance(name, str) and re.fullmatch(r"[\w+#.-]+", name) else ""


def _single_gaps(markdown: str) -> str:
    """Let one blank line stand for many, outside of fenced code."""
    pieces, at = list[str](), 0
    for fence in _FENCE.finditer(markdown):
        pieces += [_GAP.sub("\n\n", markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*pieces, _GAP.sub("\n\n", markdown[at:])])


_CONVERTER = MarkdownConverter(
    autolinks=False,
    bullets="-",
    code_language_callback=_language,
    escape_asterisks=False,
    escape_underscores=False,
    escape_misc=False,
    heading_style=ATX,
    table_infer_header=True,
)
