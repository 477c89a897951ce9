"""Open-Assistant: trees of messages, of which a policy takes threads.

Read are flat message rows (the hub's export), tree files, and bare root messages with nested replies; see
`caravan.converters.message_tree`. A null and a field that is not there mean the same, for tree files leave nulls out;
an export without states, reviews or deletions is taken as it is.

Left out by default, as Open-Assistant's own loader does: trees that are not `ready_for_export`, and messages that are
deleted, synthetic, or whose review did not end well (`review_result` false, or null where another message of the
tree has one). What hangs below a message that is left out is left out with it (`parent_left_out`). Of what remains,
`policy` takes

    best_path      one thread a tree: at each step the preferred message, up to the last answer
    all_leaves     each thread to its last answer, none that is the beginning of another
    all_assistant  each answer, with all that led to it

A question at the end of a thread that nobody answered goes alone; the thread before it stays. Preferred among
answers: the best rank (0 before 1, ranked before unranked), then the highest mean human "quality" label (a message
without one last), then the smallest id. Preferred among follow-up questions: one that was answered, then as above.

`compat` gives the walk that was published with Tulu 1 and 2 instead of a policy: all threads ("tulu-v1"), or at each
step the message with the highest "quality" label, 0 without one ("tulu-v2"); only deleted messages are left out, and
a thread that ends in a question, or in an answer below which all is deleted, vanishes whole (`compat_loss`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match, message
from caravan.converters.converter import Options as Base
from caravan.converters.message_tree import Node, labels, link, number, read_nodes, thread, walk
from caravan.converters.raw import wrong_text
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected

VERSION = 1
LICENCE = "Apache-2.0"
HUB = "OpenAssistant/oasst1"
ANSWERS_BY = "people"
READY: Final = "ready_for_export"
DETAILS: Final = {
    "tree_not_ready": f"the tree's state is not {READY}",
    "deleted": "deleted by a moderator or its author",
    "not_reviewed": "the review is missing or rejected it",
    "synthetic": "written by a model",
    "other_language": "in a language that was not asked for",
    "empty_prompt": "the text is blank",
    "empty_response": "the text is blank",
    "same_role": "follows a message of the same role",
    "starts_with_answer": "the tree starts with an answer",
    "parent_left_out": "below a message that is left out",
    "orphan": "answers a message that is not in the file, or hangs below one that does",
    "cycle": "its line of parents never ends",
    "duplicate_id": "another message came first under this id",
    "unanswered_prompt": "no answer to it can be used",
    "not_best_path": "not on the path taken",
    "compat_loss": "answered, and lost by the published walk",
}


class Options(Base):
    """Which threads, in which languages (codes as in `lang`; none: all), and what else to keep."""

    policy: Literal["best_path", "all_leaves", "all_assistant"] = "best_path"
    languages: tuple[str, ...] = ()
    keep_deleted: bool = False
    keep_unreviewed: bool = False
    keep_synthetic: bool = False
    compat: Literal["", "tulu-v1", "tulu-v2"] = ""


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the rows say it all
    """The share of rows that are messages or trees in one of the three forms."""
    forms = [_form(row) for row in sample]
    known = [form for form in forms if form]
    return Match(round(0.98 * len(known) / len(forms), 3), known[0]) if known else NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Flat rows: the id of their tree ("" for all rows without one). A row that nests its replies stands alone."""
    value = row.value
    if not isinstance(value, dict) or "replies" in value or "prompt" in value or "message_id" not in value:
        return None
    tree = value.get("message_tree_id")
    return tree if isinstance(tree, str) else ""


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """The threads of the group's trees, then what they leave out: by row, and by message where a row is a tree."""
    nodes = [node for row in group for node in read_nodes(row)]
    roots = link(nodes)
    reviewed = any(node.raw.get("review_result") is not None for node in nodes)
    for node in walk(roots):
        node.code = node.code or _left_out(node, options, reviewed)
    walked, ends = _choose([root for root in roots if root.code is None], options)
    cited, left = set[Node](), dict[Node, str]()
    for end in ends:
        path = thread(end)
        cited.update(path)
        yield _converted(path)
    for node in nodes:
        if node.code is None and node not in cited:
            unanswered = node.role == "user" and not _usable(node)
            unused = "compat_loss" if node in walked else "not_best_path"
            left[node] = "unanswered_prompt" if unanswered else unused
    for node, code in left.items():
        node.code = code
    yield from _account(nodes, cited)


def _form(row: JsonValue) -> str:
    if not isinstance(row, dict):
        return ""
    root = row.get("prompt")
    if isinstance(root, dict):
        fits = wrong_text(root, "message_id", "role", "text") is None
        return "a tree file of Open-Assistant (prompt with nested replies)" if fits else ""
    if wrong_text(row, "message_id", "role", "text") is not None:
        return ""
    if isinstance(row.get("replies"), list):
        return "root messages of Open-Assistant with nested replies"
    return "messages of Open-Assistant, one a row" if "parent_id" in row else ""


def _left_out(node: Node, options: Options, reviewed: bool) -> str | None:
    """The first reason why a message gives no example; its parent has been judged before it.

    `reviewed`: the export states reviews.
    """
    raw, above, compat = node.raw, node.above, bool(options.compat)
    language = str(raw.get("lang") or "").casefold()
    wanted = [code.casefold() for code in options.languages]
    opener = above is None and node.role != "user"
    reasons = {
        "tree_not_ready": node.tree.get("tree_state", READY) != READY,
        "deleted": _true(raw.get("deleted")) and (compat or not options.keep_deleted),
        "not_reviewed": reviewed and not (compat or options.keep_unreviewed or _true(raw.get("review_result"))),
        "synthetic": _true(raw.get("synthetic")) and not (compat or options.keep_synthetic),
        "other_language": bool(wanted) and not any(language == w or language.startswith(f"{w}-") for w in wanted),
        "empty_prompt" if node.role == "user" else "empty_response": not node.text.strip(),
        "starts_with_answer": opener,
        "parent_left_out": above is not None and above.code is not None,
        "same_role": above is not None and above.role == node.role,
    }
    return next((code for code, holds in reasons.items() if holds), None)


def _choose(roots: Sequence[Node], options: Options) -> tuple[set[Node], list[Node]]:
    """The messages that a published walk goes over, and the last message of each thread."""
    usable = [node for node in walk(roots) if node.code is None]
    if options.compat:
        best = (node for root in roots for node in _descend(root, lambda n: -labels(n).get("quality", 0.0)))
        walked = usable if options.compat == "tulu-v1" else list(best)
        return set(walked), [node for node in walked if node.role == "assistant" and not node.below]
    answers = [node for node in usable if node.role == "assistant"]
    if options.policy == "all_assistant":
        return set(), answers
    if options.policy == "all_leaves":
        return set(), [node for node in answers if not any(_usable(follow_up) for follow_up in _usable(node))]
    paths = [[node for node in _descend(root, _preference) if node.role == "assistant"] for root in roots]
    return set(), [path[-1] for path in paths if path]


def _usable(node: Node) -> list[Node]:
    return [child for child in node.below if child.code is None]


def _descend(root: Node, preference: Callable[[Node], Any]) -> Iterator[Node]:
    """From the root always to the usable child with the smallest preference, the first of equals."""
    node: Node | None = root
    while node is not None:
        yield node
        node = min(_usable(node), key=preference, default=None)


def _preference(node: Node) -> tuple[bool, bool, float, float, str]:
    rank, quality = number(node.raw.get("rank")), labels(node).get("quality")
    unanswered = node.role == "user" and not _usable(node)
    return unanswered, rank is None, rank or 0.0, float("inf") if quality is None else -quality, node.id


def _converted(path: Sequence[Node]) -> Converted:
    """A thread as an example; its tags are those of its last answer, and what holds for any of its messages."""
    end = path[-1]
    kept = ("lang", "rank", "model_name", "review_count", "created_date")
    tags: JsonObject = {"message_tree_id": path[0].id, **end.tree}
    tags |= {key: end.raw[key] for key in kept if end.raw.get(key) is not None}
    tags["synthetic"] = any(_true(node.raw.get("synthetic")) for node in path)
    if any(_true(node.raw.get("deleted")) for node in path):
        tags["deleted"] = True
    if labels(end):
        tags["labels"] = dict(labels(end))
    return Converted(
        [message(node.role, node.text) for node in path],
        own_id=end.id,
        rows=tuple(dict.fromkeys(node.row for node in path)),
        tags=tags,
    )


def _account(nodes: Sequence[Node], cited: set[Node]) -> Iterator[Rejected]:
    """One refusal for each row and code; the ids of messages are `lost` where they are not all that the row holds."""
    cited_rows = {node.row for node in cited}
    rows: dict[int, dict[str, list[JsonValue]]] = {}
    for node in nodes:
        if node.code is not None:
            rows.setdefault(node.row, {}).setdefault(node.code, []).append(node.id)
    for row, codes in sorted(rows.items()):
        whole = row not in cited_rows and len(codes) == 1
        for code, ids in sorted(codes.items()):
            detail = DETAILS.get(code, "the message is not as expected")
            count = f"{len(ids)} messages: " if len(ids) > 1 else ""
            yield Rejected(code, count + detail, (row,), lost=None if whole else ids)


def _true(value: JsonValue) -> bool:
    return value is True or (isinstance(value, str) and value.strip().casefold() == "true")
