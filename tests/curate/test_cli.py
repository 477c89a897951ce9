"""The command as scripts use it: arguments, exit codes, one line for each mistake, JSON on standard output."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from rawrows import alpaca_rows, message_rows, sentence

CURATE = [sys.executable, "-c", "from caravan.curate.cli import main; main()"]


def run(
    *arguments: str | Path, cwd: Path | None = None, code: int = 0, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `curate` as a process of its own and check its exit status."""
    done = subprocess.run(
        [*CURATE, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"} | ({"CARAVAN_CACHE": str(cache)} if cache else {}),
        timeout=300,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error line of a command that ended with 2; everything before it may only be progress."""
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.json").write_text(json.dumps(alpaca_rows(12)), encoding="utf-8")
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(r) + "\n" for r in message_rows(12)), encoding="utf-8")
    return tmp_path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['curate', '--help']\n"
        "from caravan.curate.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'polars', 'pyarrow', 'numpy', 'numba', 'datasets', 'pydantic', 'tiktoken', 'torch', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_commands_typed_one_after_another_in_one_folder(folder: Path) -> None:
    run("build-mix", "alpaca=rows.json", "messages=chats.jsonl", "--strategy", "quality_weighted", cwd=folder)
    run("contamination-check", cwd=folder)
    run("contamination-check", "mix", cwd=folder)
    assert "reading" in run("contamination-check", "mix.parquet", cwd=folder).stderr
    row = json.loads(run("explain", "rows.json:1", "--json", cwd=folder).stdout)["rows"][0]["row"]
    assert row["fate"] == "drawn"
    assert row["id"] in run("explain", row["id"], cwd=folder).stdout
    assert run("diff", "mix", "mix", cwd=folder).stdout.startswith("the same content")


def test_build_mix_prints_one_json_object_and_nothing_else_on_standard_output(folder: Path) -> None:
    done = run("build-mix", "a:alpaca=rows.json", "chats.jsonl", "--size", "10", "--seed", "3", "--json", cwd=folder)
    record = json.loads(done.stdout)
    assert record["given"]["examples"] == 10
    assert {s["name"] for s in record["sources"]} == {"a", "messages"}
    assert record["seed"] == 3


def test_weights_and_unit_and_dry_run(folder: Path) -> None:
    done = run(
        *("build-mix", "a:alpaca=rows.json", "b:messages=chats.jsonl", "--weights", "a=0.25,b=0.75"),
        *("--size", "8", "--dry-run", "--json"),
        cwd=folder,
    )
    record = json.loads(done.stdout)
    assert [s["given"]["examples"] for s in record["sources"]] == [2, 6]
    assert record["folder"] is None
    assert not (folder / "mix").exists()


def test_convert_guesses_and_says_why_and_counts(folder: Path) -> None:
    done = run("convert", "rows.json", "-o", "out.parquet", cwd=folder)
    assert "rows.json: read as alpaca: " in done.stdout
    assert pq.read_table(folder / "out.parquet").num_rows == 12
    record = json.loads(run("convert", "rows.json", "-o", "out.parquet", "--json", cwd=folder).stdout)
    assert record["files"][0]["cited"] == 12
    assert record["files"][0]["guess"]["confidence"] > 0.5


def test_columns_describe_an_unknown_json(folder: Path) -> None:
    rows = [{"q": f"Question {n}?", "a": f"Answer {n}."} for n in range(5)]
    (folder / "faq.json").write_text(json.dumps(rows), encoding="utf-8")
    assert "no converter fits" in one_line(run("convert", "faq.json", "-o", "x.parquet", cwd=folder, code=2))
    run("convert", "faq.json", "-o", "x.parquet", "--columns", "user=q,assistant=a", cwd=folder)
    first = pq.read_table(folder / "x.parquet").to_pylist()[0]["messages"]
    assert first == [{"role": "user", "content": "Question 0?"}, {"role": "assistant", "content": "Answer 0."}]


def preferences(folder: Path) -> list[dict[str, object]]:
    """Write prefs.jsonl: six preferences, the last of which repeats the first, and three rows that are none."""
    rows: list[dict[str, object]] = []
    for n in (0, 1, 2, 3, 4, 0):
        start = f"\n\nHuman: {sentence(500 + n, 12)}\n\nAssistant: "
        rows.append({"chosen": start + sentence(600 + n, 20), "rejected": start + sentence(700 + n, 5)})
    same = {"chosen": rows[1]["chosen"], "rejected": rows[1]["chosen"]}
    rows = [*rows[:2], same, *rows[2:], {"chosen": "", "rejected": rows[1]["rejected"]}]
    lines = [json.dumps(row) for row in rows]
    (folder / "prefs.jsonl").write_text("\n".join([*lines, '{"chosen": ', ""]), encoding="utf-8")
    return rows


def test_convert_writes_preferences_whose_books_balance(folder: Path) -> None:
    rows = preferences(folder)
    done = run("convert", "prefs.jsonl", "-o", "prefs.parquet", cwd=folder)
    assert "prefs.jsonl: read as hh_rlhf: " in done.stdout
    assert "6 preferences in prefs.parquet" in done.stdout
    assert "examples" not in done.stdout
    record = json.loads(run("convert", "prefs.jsonl", "-o", "prefs.parquet", "--json", cwd=folder).stdout)
    assert record["preferences"] == 6
    (books,) = record["files"]
    assert (books["rows"], books["cited"], books["rejected"], books["quarantined"]) == (9, 6, 2, 1)
    assert books["codes"] == {"equal_answers": 1, "no_turns": 1}
    made = pl.read_parquet(folder / "prefs.parquet")
    assert made.columns == ["prompt", "chosen", "rejected", "id", "source", "tags", "provenance", "licence"]
    assert made["provenance"].struct.field("row").to_list() == [1, 2, 4, 5, 6, 7]
    first = made.row(0, named=True)
    texts = [first["prompt"][0]["content"], first["chosen"][0]["content"]]
    assert rows[0]["chosen"] == f"\n\nHuman: {texts[0]}\n\nAssistant: {texts[1]}"
    assert made["id"].n_unique() == 6
    assert made["id"][5] == f"{made['id'][0]}-2", "a row that repeats another is numbered"


def test_written_preferences_are_read_back_as_they_are(folder: Path) -> None:
    row = {"prompt": "How?", "chosen": "So.", "rejected": "No.", "score_chosen": 4.5, "license": "CC0-1.0"}
    (folder / "some.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    run("convert", "some.jsonl", "-o", "a.parquet", cwd=folder)
    run("convert", "a.parquet", "-o", "b.parquet", cwd=folder)
    a, b = pl.read_parquet(folder / "a.parquet"), pl.read_parquet(folder / "b.parquet")
    assert a.select("prompt", "chosen", "rejected", "licence").equals(
        b.select("prompt", "chosen", "rejected", "licence")
    )
    assert a["licence"].to_list() == ["CC0-1.0"]
    assert json.loads(b["tags"][0])["score_chosen"] == 4.5


def test_preferences_are_refused_where_conversations_are_meant(folder: Path) -> None:
    preferences(folder)
    run("convert", "prefs.jsonl", "-o", "prefs.parquet", cwd=folder)
    for file, command in (
        ("prefs.jsonl", ["build-mix", "prefs.jsonl"]),
        ("prefs.parquet", ["build-mix", "alpaca=rows.json", "talk=prefs.parquet"]),
        ("prefs.jsonl", ["measure", "prefs.jsonl", "-o", "m.parquet"]),
        ("prefs.jsonl", ["dedup", "prefs.jsonl", "-o", "m.parquet"]),
        ("prefs.parquet", ["inspect", "prefs.parquet"]),
        ("prefs.parquet", ["contamination-check", "prefs.parquet"]),
    ):
        line = one_line(run(*command, cwd=folder, code=2))
        assert line.startswith(f"error: {file}: read as "), command
        assert "holds preferences" in line
        assert "`train dpo`" in line
    assert not (folder / "mix").exists()
    assert not (folder / "m.parquet").exists()


def test_examples_and_preferences_do_not_go_into_one_file(folder: Path) -> None:
    raw = folder / "raw"
    raw.mkdir()
    preferences(raw)
    (raw / "rows.json").write_text(json.dumps(alpaca_rows(2)), encoding="utf-8")
    line = one_line(run("convert", "raw", "-o", "x.parquet", cwd=folder, code=2))
    assert "prefs.jsonl: holds preferences (read as hh_rlhf), and raw/rows.json does not (alpaca)" in line
    assert "one at a time" in line
    record = json.loads(run("convert", "raw", "-o", "x.parquet", "--as", "hh_rlhf", "--json", cwd=folder).stdout)
    assert (record["preferences"], [f["rejected"] for f in record["files"]]) == (6, [2, 2])


STRANGER = """
'''Rows that say themselves what is made of them.'''

from caravan.converters.converter import NO_MATCH, Options
from caravan.converters.schema import Converted, ConvertedPair, Preference

VERSION, LICENCE, HUB, GIVES = 1, "MIT", None, {gives}


def matches(sample, name):
    return NO_MATCH


def group_key(row, options):
    return None


def convert(group, options):
    for row in group:
        lists = [[dict(role=role, content=text) for role, text in part] for part in row.value["made"]]
        yield (Converted if len(lists) == 1 else ConvertedPair)(*lists)
"""


def test_a_strangers_converter_gives_the_rows_that_it_says(folder: Path) -> None:
    for name, gives in (("ours", "Preference"), ("theirs", "None")):
        (folder / f"{name}.py").write_text(STRANGER.format(gives=gives), encoding="utf-8")
        info = folder / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[caravan.converters]\n{name} = {name}\n", encoding="utf-8")
    asked, yes, no = [["user", "Is it?"]], [["assistant", "Yes."]], [["assistant", "No."]]
    made = [[asked, yes, no], [asked + yes], [asked, yes, yes], [[], yes, no], [asked, yes, [["robot", "No."]]]]
    (folder / "x.jsonl").write_text("".join(json.dumps({"made": m}) + "\n" for m in made), encoding="utf-8")
    code = "import sys; sys.path.insert(0, '.')\nfrom caravan.curate.cli import main; main()"
    given = {}
    for name in ("ours", "theirs"):
        command = [sys.executable, "-c", code, "convert", "x.jsonl", "-o", f"{name}.parquet", "--as", name, "--json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        record = json.loads(done.stdout)
        assert record["files"][0]["codes"] == {"converter_error": 4}
        given[name] = pl.read_parquet(folder / f"{name}.parquet").row(0, named=True)
    assert [m["content"] for part in ("prompt", "chosen", "rejected") for m in given["ours"][part]] == [
        "Is it?",
        "Yes.",
        "No.",
    ]
    assert [m["content"] for m in given["theirs"]["messages"]] == ["Is it?", "Yes."]


def test_no_sample_of_preferences_is_mixed(folder: Path) -> None:
    record = json.loads(run("build-mix", "--dry-run", "--json", cwd=folder).stdout)
    names = {source["name"] for source in record["sources"]}
    assert {"alpaca", "sharegpt"} <= names
    assert not {"hh_rlhf", "ultrafeedback", "sharegpt_dpo"} & names


def test_measure_keeps_every_row_in_the_order_read(folder: Path) -> None:
    rows = [*alpaca_rows(3), {"instruction": "Say.", "input": "", "output": ""}, *alpaca_rows(3, first=3)]
    (folder / "some.json").write_text(json.dumps(rows), encoding="utf-8")
    run("measure", "some.json", "-o", "m.parquet", "--filters", "language,quality", cwd=folder)
    measured = pl.read_parquet(folder / "m.parquet")
    assert measured["row"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert measured["rejected"].to_list() == [None] * 3 + ["empty_response"] + [None] * 3
    assert measured["messages"][0][1]["content"] == rows[0]["output"]
    assert {"language", "language_score", "quality"} <= set(measured.columns)
    assert measured.filter(pl.col("rejected").is_null())["quality"].is_between(0, 1).all()


@pytest.mark.parametrize("exact", [[], ["--exact"]], ids=["lsh", "exact"])
def test_dedup_writes_kept_rows_pairs_and_groups(folder: Path, exact: list[str]) -> None:
    rows = alpaca_rows(10)
    near = {**rows[2], "output": rows[2]["output"].replace("scene", "picture", 1)}
    (folder / "some.json").write_text(json.dumps([*rows, rows[0], near]), encoding="utf-8")
    done = run("dedup", "some.json", "-o", "kept.parquet", "--threshold", "0.7", *exact, "--json", cwd=folder)
    record = json.loads(done.stdout)
    assert (record["rows"], record["kept"]) == (12, 10)
    pairs = pl.read_parquet(folder / "kept.pairs.parquet")
    assert pairs["reason"].sort().to_list() == ["exact_duplicate", "near_duplicate"]
    assert pairs["similarity"].is_between(0.7, 1).all()
    assert pl.read_parquet(folder / "kept.groups.parquet")["size"].to_list() == [2, 2]


def test_dedup_by_prompt(folder: Path) -> None:
    rows = alpaca_rows(4)
    other = {**rows[0], "output": sentence(77, 40)}
    (folder / "some.json").write_text(json.dumps([*rows, other]), encoding="utf-8")
    kept = [
        json.loads(run("dedup", "some.json", "-o", "k.parquet", "--key", key, "--json", cwd=folder).stdout)["kept"]
        for key in ("conversation", "prompt", "response")
    ]
    assert kept == [5, 4, 5]


def test_contamination_check_exit_status_and_limit(folder: Path) -> None:
    items = [{"question": f"Item {n}: what is meant by {sentence(600 + n, 20)}", "answer": "x"} for n in range(20)]
    (folder / "bench.jsonl").write_text("".join(json.dumps(i) + "\n" for i in items), encoding="utf-8")
    rows = alpaca_rows(5)
    rows[3]["instruction"] = "Think well. " + items[7]["question"]
    (folder / "some.json").write_text(json.dumps(rows), encoding="utf-8")
    command = ("contamination-check", "some.json", "--benchmarks", "bench.jsonl", "--out", "check")
    record = json.loads(run(*command, "--json", cwd=folder, code=1).stdout)
    (bench,) = record["benchmarks"]
    assert (bench["items"], bench["hit"], bench["rows_hit"], bench["share"]) == (20, 1, 1, 0.05)
    (match,) = pq.read_table(folder / "check" / "contamination.parquet").to_pylist()
    assert (match["row_id"], match["file"], match["row"], match["kind"]) == ("some.json:4", "some.json", 4, "verbatim")
    (span,) = match["row_spans"]
    assert rows[3]["instruction"][span["start"] : span["end"]].startswith("Item 7")
    run(*command, "--max-leaked", "0.05", cwd=folder)


def test_inspect_plugins_doctor(folder: Path) -> None:
    report = json.loads(run("inspect", "rows.json", "--json", cwd=folder).stdout)
    assert report["examples"] == 12
    assert "Describe the scene" not in run("inspect", "rows.json", cwd=folder).stdout
    names = {(p["kind"], p["name"]) for p in json.loads(run("plugins", "--json").stdout)["plugins"]}
    assert {("converters", "oasst"), ("filters", "quality"), ("strategies", "equal"), ("benchmarks", "mmlu")} <= names
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    assert all(finding["well"] for finding in findings), findings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build-mix", "alpaca=nowhere.json"], "nowhere.json"),
        (["build-mix", "alpaca=row.json"], "did you mean"),
        (["build-mix", "alpaca:alpakka=rows.json"], "no converter 'alpakka'; did you mean 'alpaca'"),
        (["build-mix", "alpaca=rows.json", "--strategy", "best"], "no strategy 'best'"),
        (["build-mix", "alpaca=rows.json", "--strategy", "tuned"], "alpaca"),
        (["build-mix", "alpaca=rows.json", "--size", "1000"], "1,000 requested, but 48 is the most"),
        (["build-mix", "alpaca=rows.json", "--set", "sise=3"], "unknown key 'sise'; did you mean 'size'"),
        (["build-mix", "alpaca=rows.json", "--benchmarks", "no-such-thing"], "no-such-thing"),
        (["convert", "rows.json", "-o", "rows.json"], "OUT is the file that was read"),
        (["convert", "rows.json", "-o", "rows.json/out.parquet"], "rows.json"),
        (["convert", "rows.json", "-o", "x.parquet", "--as", "alpaca", "--columns", "user=q"], "give one of them"),
        (["build-mix", "alpaca=rows.json", "--out", "."], "holds other files (chats.jsonl, rows.json) and no mixture"),
        (["build-mix", "alpaca=rows.json", "--out", "rows.json"], "is not a folder"),
        (["build-mix", "alpaca=rows.json", "--set", "size=1.5"], "size: Input should be a valid integer"),
        (["build-mix", "alpaca=rows.json", "--weights", "alpaca=inf"], "sources.alpaca.share"),
        (
            ["build-mix", "alpaca=rows.json", "--set", "sources.alpaca.filters.lenght.max_tokens=3"],
            "did you mean 'length'",
        ),
        (
            ["build-mix", "alpaca=rows.json", "--set", "priority=['alpacca']"],
            "no source 'alpacca'; did you mean 'alpaca'",
        ),
        (["measure", "rows.json", "-o", "m.parquet", "--filters", "langauge"], "did you mean 'language'"),
        (["explain", "x"], "mix"),
        (["diff", "a", "b"], "no manifest"),
        (["plugins", "filter"], "did you mean 'filters'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_status_2(folder: Path, arguments: list[str], message: str) -> None:
    assert message in one_line(run(*arguments, cwd=folder, code=2))


def test_unknown_option_is_usage_exit_status_2(folder: Path) -> None:
    assert "No such option" in one_line(run("build-mix", "--siz", "3", cwd=folder, code=2))
    assert "'--size'" in one_line(run("build-mix", "--size", "0", cwd=folder, code=2))
    assert "nonsense" in one_line(run("nonsense", cwd=folder, code=2))
    assert "FILE" in one_line(run("convert", "-o", "x", cwd=folder, code=2))


HOSTILE: dict[str, bytes] = {
    "truncated.json": json.dumps(alpaca_rows(3, first=200)).encode()[:-25],
    "lfs.json": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    "binary.json": bytes(range(256)) * 64,
    "deep.json": b"[" * 100_000 + b"]" * 100_000,
    "empty.json": b"",
    "latin1.json": '[{"instruction": "caf\u00e9", "input": "", "output": "cr\u00e8me"}]'.encode("latin-1"),
}


def test_hostile_files_cost_a_warning_each_and_leave_the_rest_unharmed(folder: Path) -> None:
    bad = folder / "bad"
    bad.mkdir()
    for name, data in HOSTILE.items():
        (bad / name).write_bytes(data)
    rows = alpaca_rows(2, first=50)
    rows[0]["output"] += " \x00 and a lone surrogate: "
    text = json.dumps(rows).replace("surrogate: ", "surrogate: \\ud800")
    (bad / "surrogates.json").write_text(text, encoding="utf-8")
    long = {"instruction": "Repeat.", "input": "", "output": "word " * 10_000_000}
    (bad / "long.json").write_text(json.dumps([long]), encoding="utf-8")
    (bad / "folder.json").mkdir()
    os.symlink(bad / "nothing", bad / "dangling.json")
    os.mkfifo(bad / "pipe.json")
    done = run("build-mix", "alpaca=rows.json", "bad:alpaca=bad", "--json", cwd=folder)
    record = json.loads(done.stdout)
    sources = {s["name"]: s for s in record["sources"]}
    assert sources["alpaca"]["drawn"] == 12
    read = {Path(f["file"]).name: f for f in sources["bad"]["files"]}
    assert read["truncated.json"]["cited"] == 2
    assert read["surrogates.json"]["cited"] == 2
    assert read["surrogates.json"]["text_changes"] == {"nul": 1, "surrogate": 1}
    assert read["long.json"]["cited"] == 1
    for name in HOSTILE:
        assert sum(f"{name}" in line and line.startswith("warning: ") for line in done.stderr.splitlines()) == 1, name
    quarantine = [json.loads(line) for line in (folder / "mix" / "quarantine.jsonl").read_text().splitlines()]
    assert {Path(q["file"]).name for q in quarantine} >= set(HOSTILE)
    assert "Traceback" not in done.stderr


def test_no_permission_is_one_clear_line(folder: Path) -> None:
    locked = folder / "locked.json"
    locked.write_text(json.dumps(alpaca_rows(2)), encoding="utf-8")
    locked.chmod(0)
    # Root reads everything: go on as another user, after a run that has loaded all code, which that user may not read.
    code = (
        "import os, sys\n"
        "from caravan.curate.cli import main\n"
        "sys.argv = ['curate', 'convert', 'rows.json', '-o', 'y.parquet', '--workers', '1']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.argv = ['curate', 'convert', 'locked.json', '-o', 'x.parquet', '--workers', '1']\n"
        "main()"
    )
    folder.chmod(0o777)
    cache = folder / "cache"
    cache.mkdir(mode=0o777, exist_ok=True)
    cache.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CARAVAN_CACHE": str(cache)},
    )
    assert done.returncode == 2, done.stderr
    assert "locked.json" in done.stderr
    assert "ermission" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_clear_line_and_leaves_nothing_half_written(folder: Path) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "import sys; sys.argv = ['curate', 'build-mix', 'alpaca=rows.json']\n"
        "from caravan.curate.cli import main; main()"
    )
    run("build-mix", "alpaca=rows.json", "--dry-run", cwd=folder)  # fills the cache: the mixture itself must not fit
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.glob(".mix*"))
    assert not (folder / "mix" / "manifest.json").exists()


def test_killed_at_any_time_the_next_run_ends_with_the_same_content(folder: Path) -> None:
    rows = alpaca_rows(1500)
    for n in range(5):
        (folder / f"part{n}.json").write_text(json.dumps(rows[n * 300 : n * 300 + 300]), encoding="utf-8")
    command = ["build-mix", *(f"alpaca=part{n}.json" for n in range(5)), "--workers", "2"]
    wanted = json.loads(run(*command, "--json", "--dry-run", cwd=folder, cache=folder / "c0").stdout)
    cache = folder / "c1"
    for wait in (0.4, 0.9, 1.4, 1.9):
        process = subprocess.Popen(
            [*CURATE, *command],
            cwd=folder,
            env=os.environ | {"CARAVAN_CACHE": str(cache)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    record = json.loads(run(*command, "--json", cwd=folder, cache=cache).stdout)
    assert record["content_hash"] == wanted["content_hash"]
    assert sum(f["rows"] for s in record["sources"] for f in s["files"]) == 1500


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(folder: Path) -> None:
    rows = alpaca_rows(20_000)
    (folder / "large.json").write_text(json.dumps(rows), encoding="utf-8")
    process = subprocess.Popen(
        [*CURATE, "build-mix", "alpaca=large.json", "--workers", "1"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: run the same command again" in errors
    assert "Traceback" not in errors


def test_markup_and_escape_sequences_in_data_do_nothing_on_a_terminal(folder: Path) -> None:
    rows = alpaca_rows(1)
    rows[0]["instruction"] = "[bold red]Look[/] \x1b[31mhere\x1b[0m: " + sentence(5, 12)
    (folder / "some.json").write_text(json.dumps(rows), encoding="utf-8")
    run("build-mix", "alpaca=some.json", cwd=folder)
    shown = run("explain", "some.json:1", cwd=folder).stdout
    assert "[bold red]Look[/] \\x1b[31mhere" in shown
    assert "\x1b" not in shown


def test_a_killed_command_leaves_no_workers_behind(folder: Path) -> None:
    for n in range(2):
        (folder / f"part{n}.json").write_text(json.dumps(alpaca_rows(30_000, first=n * 30_000)), encoding="utf-8")
    process = subprocess.Popen(
        [*CURATE, "build-mix", "alpaca=part0.json", "alpaca=part1.json", "--workers", "2"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(2)
    process.kill()
    process.wait()
    for _ in range(60):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("workers were still alive after 30 seconds")


def test_out_is_never_a_device_or_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for command in ("convert", "measure", "dedup"):
        assert "is not a file" in one_line(run(command, "rows.json", "-o", "pipe", cwd=folder, code=2))
    assert (folder / "pipe").is_fifo()


def test_closed_streams_and_readers_that_go_away_are_no_errors(folder: Path) -> None:
    curate = "".join(f"{part!r} " if " " in part else f"{part} " for part in CURATE)
    shell = f"set -o pipefail; {curate} plugins | true"
    assert subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, check=False).returncode == 0
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(["bash", "-c", f"{curate} inspect rows.json {closed}"], cwd=folder, check=False)
        assert done.returncode == 0, closed


def test_names_that_are_no_text_are_read_and_shown_safely(folder: Path) -> None:
    odd = os.fsencode(folder) + b"/f\xff\x1b[31m\n.json"
    with open(odd, "wb") as file:
        file.write(json.dumps(alpaca_rows(3)).encode())
    done = subprocess.run(
        [*CURATE, "build-mix", b"alpaca=" + odd], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    refused = run("build-mix", "alpaca=rows.json", "--out", os.fsdecode(b"m\xff"), cwd=folder, code=2)
    assert "not UTF-8" in one_line(refused)


def test_the_order_of_the_arguments_changes_no_byte(folder: Path) -> None:
    run("build-mix", "alpaca=rows.json", "messages=chats.jsonl", "--out", "a", cwd=folder)
    run("build-mix", "messages=chats.jsonl", "alpaca=rows.json", "--out", "b", cwd=folder)
    for path in (folder / "a").iterdir():
        assert path.read_bytes() == (folder / "b" / path.name).read_bytes(), path.name


def test_a_check_that_compared_nothing_does_not_pass(folder: Path) -> None:
    (folder / "refused.json").write_text(
        json.dumps([{"instruction": "a", "input": "", "output": ""}]), encoding="utf-8"
    )
    done = run("contamination-check", "refused.json", cwd=folder, code=2)
    assert "nothing to compare" in one_line(done)
    assert "empty_response" in one_line(done)
    report = json.loads(run("inspect", "refused.json", "--json", cwd=folder).stdout)
    assert (report["examples"], report["quantiles"]) == (0, {})


def test_a_file_that_no_converter_fits_costs_a_warning_among_others(folder: Path) -> None:
    (folder / "odd.jsonl").write_text('{"q": "Who?", "a": "I."}\n' * 3, encoding="utf-8")
    for arguments in (["."], ["odd.jsonl", "rows.json"], ["x=odd.jsonl", "alpaca=rows.json"]):
        done = run("build-mix", *arguments, "--dry-run", "--json", cwd=folder)
        assert "odd.jsonl: no converter fits" in done.stderr
        record = json.loads(done.stdout)
        (odd,) = [f for s in record["sources"] for f in s["files"] if f["file"].endswith("odd.jsonl")]
        assert (odd["rows"], odd["rejected"]) == (3, 3)
    assert "no converter fits" in one_line(run("build-mix", "odd.jsonl", cwd=folder, code=2))


def test_explain_knows_a_file_by_any_spelling(folder: Path) -> None:
    run("build-mix", "alpaca=rows.json", cwd=folder)
    for name in ("rows.json:2", "./rows.json:2", f"{folder}/rows.json:2"):
        assert run("explain", name, cwd=folder).returncode == 0


def test_dedup_names_its_side_files_by_the_whole_name(folder: Path) -> None:
    run("dedup", "rows.json", "-o", "out.v1", cwd=folder)
    run("dedup", "rows.json", "-o", "out.v2.parquet", cwd=folder)
    assert {"out.v1.pairs.parquet", "out.v2.pairs.parquet", "out.v2.groups.parquet"} <= {
        p.name for p in folder.iterdir()
    }


def test_measure_names_each_row_of_a_group_that_was_refused(folder: Path) -> None:
    tree = {"message_tree_id": "t", "lang": "en", "deleted": False, "review_result": True}
    rows = [
        {**tree, "message_id": "t", "parent_id": None, "role": "prompter", "text": "Who is there?"},
        {**tree, "message_id": "u", "parent_id": "t", "role": "assistant", "text": "Nobody.", "deleted": True},
        {**tree, "message_id": "v", "parent_id": "t", "role": "assistant", "text": "No one.", "deleted": True},
    ]
    (folder / "tree.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    run("measure", "tree.jsonl", "-o", "m.parquet", "--as", "oasst", cwd=folder)
    measured = pl.read_parquet(folder / "m.parquet")
    assert measured["row"].to_list() == [1, 2, 3]
    assert measured["rejected"].null_count() == 0


def test_what_a_killed_build_of_the_same_process_number_left_is_no_obstacle(folder: Path) -> None:
    script = (
        "import os, sys; os.makedirs(f'mix/.part-{os.getpid()}'); os.makedirs('mix/.part-notes')\n"
        "sys.argv = ['curate', 'build-mix', 'alpaca=rows.json']\n"
        "from caravan.curate.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "mix").glob(".part-*")] == [".part-notes"]
