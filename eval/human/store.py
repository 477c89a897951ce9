"""Where votes are kept: a folder with a SQLite database that is only ever added to, and the secret that signs links.

A vote is on the disk before the page hears of it (WAL, synchronous FULL). Nobody's vote is changed or deleted, and
triggers see to it: who thinks again adds another, and the latest counts. The texts that people saw lie in the store,
with a hash of all, so that votes are never read against other answers.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from caravan.errors import UserError
from caravan.eval.human.order import Side, Slot, sequence
from caravan.eval.pairs import Pair, Pairs

VOTES = "votes.sqlite"
VERSION = 1

_TABLES = """
CREATE TABLE study (version INTEGER, a TEXT, b TEXT, content TEXT, begun TEXT);
CREATE TABLE items (id TEXT PRIMARY KEY, prompt TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL);
CREATE TABLE annotators (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, team TEXT NOT NULL);
CREATE TABLE slots (
  annotator TEXT NOT NULL, place INTEGER NOT NULL, item TEXT NOT NULL, "left" TEXT NOT NULL, again INTEGER NOT NULL,
  PRIMARY KEY (annotator, place)
) WITHOUT ROWID;
CREATE TABLE votes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, at TEXT NOT NULL,
  annotator TEXT NOT NULL, place INTEGER NOT NULL, preference INTEGER, left_ok INTEGER, right_ok INTEGER,
  reason TEXT NOT NULL, comment TEXT NOT NULL, seconds REAL NOT NULL,
  FOREIGN KEY (annotator, place) REFERENCES slots (annotator, place)
);
CREATE INDEX latest ON votes (annotator, place, number);
""" + "".join(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'only ever added to'); END;\n"
    for table in ("items", "slots", "votes")
    for verb in ("UPDATE", "DELETE")
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of a pair: -2 (left clearly better) to 2 (right clearly), and whether each is acceptable.

    With a `reason` the pair was not judged ("invalid": not a proper question, "hard": too hard to judge), and the
    three are None.
    """

    preference: int | None
    left_ok: bool | None
    right_ok: bool | None
    reason: str = ""
    comment: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A judgement as it is kept: by whom, when, of which item, with whose answer on the left."""

    annotator: str
    team: str
    item: str
    left: Side
    again: bool
    at: str
    number: int
    said: Judgement


class Store:
    """An open store. Its methods may be called from any thread."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = Lock()
        self.a, self.b, self.content = connection.execute("SELECT a, b, content FROM study").fetchone()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def invite(self, name: str, team: str) -> None:
        """Add an annotator and fix what they will see; one who was invited before keeps all, the group too."""
        with self._writing() as db:
            known = db.execute("SELECT team FROM annotators WHERE name = ?", (name,)).fetchone()
            if known is not None:
                if team and team != known[0]:
                    raise UserError(f"{name} is in group {known[0]!r} already", fix="leave the group out")
                return
            number = db.execute("SELECT count(*) FROM annotators").fetchone()[0]
            db.execute("INSERT INTO annotators VALUES (?, ?, ?)", (number, name, team))
            ids = [row[0] for row in db.execute("SELECT id FROM items ORDER BY rowid")]
            rows = [(name, at, s.item, s.left, s.repeat) for at, s in enumerate(sequence(ids, number, self.content))]
            db.executemany("INSERT INTO slots VALUES (?, ?, ?, ?, ?)", rows)

    def annotators(self) -> list[tuple[str, str]]:
        """Names and groups, in the order of invitation."""
        return self._all("SELECT name, team FROM annotators ORDER BY number")

    def shown(self, annotator: str, place: int) -> tuple[Slot, Pair] | None:
        """What stands at a place (from 0) of a person's order."""
        rows = self._all(
            'SELECT item, "left", again, prompt, a, b FROM slots JOIN items ON id = item'
            " WHERE annotator = ? AND place = ?",
            (annotator, place),
        )
        if not rows:
            return None
        item, left, again, prompt, a, b = rows[0]
        return Slot(item, left, bool(again)), Pair(item, prompt, a, b)

    def progress(self, annotator: str) -> list[str]:
        """For each place of a person's order: "judged", "skipped", or "" where nothing was said yet."""
        rows = self._all(
            """SELECT reason FROM slots LEFT JOIN votes ON number = (
              SELECT max(number) FROM votes AS v WHERE v.annotator = slots.annotator AND v.place = slots.place
            ) WHERE slots.annotator = ? ORDER BY slots.place""",
            (annotator,),
        )
        return ["" if reason is None else "skipped" if reason else "judged" for (reason,) in rows]

    def latest(self, annotator: str, place: int) -> Judgement | None:
        """What the person said last at a place."""
        rows = self._all(
            "SELECT preference, left_ok, right_ok, reason, comment, seconds FROM votes"
            " WHERE annotator = ? AND place = ? ORDER BY number DESC LIMIT 1",
            (annotator, place),
        )
        return _judgement(rows[0]) if rows else None

    def add(self, key: str, annotator: str, place: int, said: Judgement) -> None:
        """Keep a vote for good; one with a key that is known (sent again after a lost reply) is kept once."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO votes VALUES (NULL, :key, :at, :annotator, :place, :preference, :left_ok,"
                " :right_ok, :reason, :comment, :seconds)",
                {"key": f"{annotator} {key}", "at": at, "annotator": annotator, "place": place, **asdict(said)},
            )

    def votes(self) -> list[Kept]:
        """All votes ever kept, in the order in which they came."""
        rows = self._all(
            """SELECT v.annotator, team, item, "left", again, at, v.number, preference, left_ok, right_ok, reason,
            comment, seconds FROM votes AS v JOIN slots USING (annotator, place) JOIN annotators ON name = v.annotator
            ORDER BY v.number"""
        )
        return [
            Kept(annotator, team, item, left, bool(again), at, number, _judgement(rest))
            for annotator, team, item, left, again, at, number, *rest in rows
        ]

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _judgement(row: Sequence[Any]) -> Judgement:
    preference, left_ok, right_ok, reason, comment, seconds = row
    left_ok, right_ok = (None if ok is None else bool(ok) for ok in (left_ok, right_ok))
    return Judgement(preference, left_ok, right_ok, reason, comment, seconds)


def begin(folder: Path, pairs: Pairs) -> Store:
    """Open the store for these pairs, or make it; `UserError` where it holds votes on others."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it says which model is which
    content = sha256(json.dumps([pairs.a, pairs.b, [asdict(p) for p in pairs.pairs]]).encode()).hexdigest()
    with _opened(folder / VOTES) as db:
        db.execute("BEGIN EXCLUSIVE")
        try:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _make(db, pairs, content)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    store = open_store(folder)
    if store.content != content:
        store.close()
        fix = "give the files that it was begun with, or name another folder with --store"
        raise UserError("holds votes on other answers", where=str(folder), fix=fix)
    return store


def _make(db: sqlite3.Connection, pairs: Pairs, content: str) -> None:
    statement = ""
    for line in _TABLES.splitlines(keepends=True):  # `executescript` would end the transaction
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    db.execute("INSERT INTO study VALUES (?, ?, ?, ?, ?)", (VERSION, pairs.a, pairs.b, content, now))
    db.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", [(p.id, p.prompt, p.a, p.b) for p in pairs.pairs])


def open_store(folder: Path) -> Store:
    """Open a store that is there."""
    path = folder / VOTES
    if not path.is_file():
        raise UserError(f"no {VOTES} in it", where=str(folder), fix="name the folder of `evaluate human serve`")
    with _opened(path) as db:
        version = db.execute("SELECT version FROM study").fetchone()
    if version != (VERSION,):
        raise UserError("of another version of caravan", where=str(path), fix="read it with that version")
    return Store(folder, _connect(path))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one look, in which whatever is wrong with the file is the person's to mend."""
    try:
        with closing(_connect(path)) as db:
            yield db
    except sqlite3.Error as error:
        raise UserError(f"not a store of votes: {error}", where=str(path), fix="name another folder") from None


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db
