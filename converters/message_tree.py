"""Trees of messages as Open-Assistant writes them: rows in any of its forms to linked nodes. No recursion.

    flat        {message_id, parent_id, message_tree_id, role, text, ...}: one message a row
    tree file   {message_tree_id, tree_state, prompt: {message_id, role, text, replies: [...]}}: one tree a row
    bare        the root message itself, with nested replies: one tree a row

Nothing is dropped here: a node that cannot be used carries the code that says why.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from caravan.converters.raw import wrong_text
from caravan.converters.roles import role_of
from caravan.converters.schema import JsonObject, RawRow


@dataclass(slots=True, eq=False)
class Node:
    """One message: `role` user or assistant, `raw` its own fields, `tree` its tree's id and state.

    `code` says why it gives no example (None: it may); `above` and `below` are set by `link`.
    """

    id: str
    parent: str | None
    role: str
    text: str
    row: int
    raw: JsonObject
    tree: JsonObject
    code: str | None = None
    above: "Node | None" = None
    below: list["Node"] = field(default_factory=list)


def read_nodes(row: RawRow) -> list[Node]:
    """All messages of one raw row, parents before children, replies in the order of the file.

    A message without an id is named by its place: "row 7", or "PARENT/2" for the parent's second reply.
    """
    top = row.value if isinstance(row.value, dict) else {}
    tree: JsonObject = {key: top[key] for key in ("message_tree_id", "tree_state") if top.get(key) is not None}
    wrapped = "prompt" in top and "text" not in top
    start = top["prompt"] if wrapped else row.value
    if wrapped and not isinstance(start, dict):
        return [Node(f"row {row.row}", None, "", "", row.row, {}, tree, code="wrong_type:prompt")]
    nodes: list[Node] = []
    waiting: list[tuple[JsonValue, str | None, str]] = [(start, _parent_id(top), f"row {row.row}")]
    while waiting:
        value, parent, place = waiting.pop()
        node = _node(value, parent, place, row.row, tree)
        nodes.append(node)
        replies = value.get("replies") if isinstance(value, dict) else None
        if isinstance(replies, list):
            children = [(reply, node.id, f"{node.id}/{number}") for number, reply in enumerate(replies, 1)]
            waiting.extend(reversed(children))
        elif replies is not None and node.code is None:
            node.code = "wrong_type:replies"
    if not isinstance(top.get("parent_id"), str | None) and nodes[0].code is None:
        nodes[0].code = "wrong_type:parent_id"
    return nodes


def link(nodes: Sequence[Node]) -> list[Node]:
    """Hang each node below its parent, wherever that stands in the file; gives the roots.

    What no root leads to gets a code: `duplicate_id` (the first one with an id counts), `orphan` (it, or a message
    above it, answers one that is not there), `cycle`.
    """
    first: dict[str, Node] = {}
    for node in nodes:
        if first.setdefault(node.id, node) is not node and node.code is None:
            node.code = "duplicate_id"
    roots: list[Node] = []
    orphans: list[Node] = []
    for node in first.values():
        if node.parent is None:
            roots.append(node)
        elif node.parent in first:
            node.above = first[node.parent]
            node.above.below.append(node)
        else:
            orphans.append(node)
    reached = set(walk(roots))
    for code, lost in (("orphan", list(walk(orphans))), ("cycle", list(first.values()))):
        for node in lost:
            if node not in reached and node.code is None:
                node.code = code
    return roots


def walk(starts: Iterable[Node]) -> Iterator[Node]:
    """The nodes and all below them, parents before children, in the order of the file."""
    waiting = list(starts)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.below))


def thread(end: Node) -> list[Node]:
    """The messages from the root down to `end`."""
    path, node = list[Node](), end
    while True:
        path.append(node)
        if node.above is None:
            return path[::-1]
        node = node.above


def number(value: JsonValue) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def labels(node: Node) -> dict[str, float]:
    """Mean human labels of a message by name: {name: {value, count}} in trees, parallel lists in flat rows."""
    raw = node.raw.get("labels")
    if not isinstance(raw, dict):
        return {}
    names, values = raw.get("name"), raw.get("value")
    pairs: Iterable[tuple[JsonValue, JsonValue]]
    if isinstance(names, list) and isinstance(values, list):
        pairs = zip(names, values, strict=False)
    else:
        pairs = ((name, label.get("value")) for name, label in raw.items() if isinstance(label, dict))
    known = ((name, number(value)) for name, value in pairs)
    return {name: value for name, value in known if isinstance(name, str) and value is not None}


def _node(value: JsonValue, parent: str | None, place: str, row: int, tree: JsonObject) -> Node:
    if not isinstance(value, dict):
        return Node(place, parent, "", "", row, {}, tree, code="not_an_object")
    code = wrong_text(value, "message_id", "role", "text")
    name, role, text = value.get("message_id"), value.get("role"), value.get("text")
    known = role_of(role, {}) if isinstance(role, str) else None
    if code is None and known not in ("user", "assistant"):
        code = f"unknown_role:{str(role)[:40]}"
    return Node(
        id=name if isinstance(name, str) else place,
        parent=parent,
        role=known or "",
        text=text if isinstance(text, str) else "",
        row=row,
        raw={key: v for key, v in value.items() if key not in ("text", "replies")},
        tree=tree,
        code=code,
    )


def _parent_id(row: JsonObject) -> str | None:
    """The parent that a row names: none where it is missing, null or empty (as csv writes null)."""
    value = row.get("parent_id")
    return value if isinstance(value, str) and value else None
