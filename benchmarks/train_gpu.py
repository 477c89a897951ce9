"""Speed, MFU and memory of full fine-tuning on the GPUs of this machine: caravan, its plan, and TRL's SFTTrainer.

    python benchmarks/train_gpu.py [--shapes pythia-1b,llama-7b] [--lengths 2048,4096] [--tokenizer FOLDER]
                                   [--data PARQUET] [--trl PYTHON] [--steps 10] [--eager] [--out results.json] [--smoke]

Every figure comes from processes of its own, on all GPUs (`CUDA_VISIBLE_DEVICES` chooses): one that runs out of memory
ends none of the others, and is tried again with half the micro-batch. caravan is measured as people run it: the command
`train fsdp`, ended once enough steps are in its metrics.jsonl. The planner chooses the micro-batch, at most MOST tokens
at a time; what does not fit is refused by the trainer in its own words.

Both sides train all weights of the same random model (fp32 masters, computed in bf16, fused AdamW, clipped to 1) on the
same rows, packed best-fit and isolated, with loss on assistant tokens; a step is ROUNDS micro-batches on each GPU, and
all blocks are recomputed. TRL has its defaults but for packing, `assistant_only_loss=True` (its default, loss on every
token, takes longer) and a log line each step; on one GPU it has the weights in fp32 under autocast, on several FSDP2.
Its attention is flash-attn where installed, else SDPA with a mask: the table says which. On a GPU without flash-attn
that mask is what one pays for with packing.

Rows are made up, of log-normal lengths (median 400 tokens, sigma 0.9, a third of them the question's), cut to what is
packed, unless --data names some. Without --tokenizer a byte-level one is made whose ids spread over the vocabulary.

The first WARM_UP steps compile and are not counted; of --steps others the median counts. --eager measures neither side
compiled. MFU is that of the log: 6N a token and attention within each conversation. `plan` is what the planner says
will be allocated (on a CPU: resident), beside the peak that was. --smoke: a tiny shape on whatever is there, in about a
minute, to see that the script works.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Any

MOST = 16_384  # tokens of a micro-batch: larger ones are no faster
ROUNDS, WARM_UP, STEPS = 4, 3, 10
PATIENCE = 30 * 60  # seconds for one process
TOO_LONG = f"no end after {PATIENCE // 60} minutes"
WORDS, MEDIAN, SIGMA, SHORTEST = 2000, 400, 0.9, 48
PROBE = """
import importlib.metadata, importlib.util, json, torch
def version(name):
    return importlib.metadata.version(name) if importlib.util.find_spec(name) else None
names = ("torch", "transformers", "trl", "accelerate", "flash_attn")
gpus = torch.cuda.device_count()
memory = torch.cuda.mem_get_info(0)[1] / 2**30 if gpus else None
print(json.dumps({"versions": {n: version(n) for n in names}, "gpus": gpus, "cuda": torch.version.cuda,
                  "gpu": torch.cuda.get_device_name(0) if gpus else "cpu", "memory_gib": memory}))
"""
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="pythia-1b,llama-7b")
    parser.add_argument("--lengths", default="2048,4096")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER")
    parser.add_argument("--data", type=Path, metavar="PARQUET")
    parser.add_argument("--trl", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--trl-loop", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trl_loop:
        trl_loop(**json.loads(given.trl_loop))
        return
    here, there = _ask(sys.executable), _ask(given.trl)
    print(f"{here['gpus'] or 'no'} GPU ({here['gpu']}), commit {_commit()}")
    print("caravan with", here["versions"], "\nTRL with    ", there["versions"])
    results: list[Row] = []
    told = {"machine": here, "trl": there, "commit": _commit(), "arguments": vars(given), "results": results}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CARAVAN_CACHE": folder, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"}
        bench = Bench(Path(folder), given, here, there)
        print(f"\n{HEAD}", flush=True)
        for shape in ["tiny"] if given.smoke else given.shapes.split(","):
            for length in [128] if given.smoke else map(int, given.lengths.split(",")):
                for row in bench.measure(shape, length):
                    results.append(row)
                    print(_line(row, results), flush=True)
                    given.out.write_text(json.dumps(told, indent=2, default=str) + "\n", encoding="utf-8")


def _ask(python: str) -> Row:
    found: Row = json.loads(subprocess.check_output([python, "-W", "ignore", "-c", PROBE]))
    return found


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


class Bench:
    """What all measurements of one call share."""

    def __init__(self, folder: Path, given: argparse.Namespace, here: Row, there: Row) -> None:
        self.folder, self.given, self.here, self.there = folder, given, here, there
        self.gpus = here["gpus"] or 1
        self.warm_up, self.rounds = (1, 2) if given.smoke else (WARM_UP, ROUNDS)
        self.steps: int = 3 if given.smoke else given.steps
        self.lengths = self.gpus * self.rounds * (self.warm_up + self.steps + 2)  # that all steps take, and some more

    def measure(self, shape: str, length: int) -> Any:
        """Each result of a shape at a length, as soon as it is there."""
        from caravan.train.flops import flops_of, mfu
        from caravan.train.model import skeleton

        model = self.model(shape, length)
        flops = flops_of(skeleton(model[1]), model[1])
        micro, predicted = self.planned(*model, length)
        data = self.given.data or self.rows(model[0], length, max(micro, 1))
        for compiles in (False,) if self.given.eager or (self.given.smoke and not self.here["gpus"]) else (False, True):
            for loop in ("caravan", "trl") if self.there["versions"]["trl"] else ("caravan",):
                row: Row = {"shape": shape, "length": length, "loop": loop, "compile": compiles}
                row |= {"planned_micro_batch": micro, "predicted_gib": predicted}
                row |= self.halving(loop, model[0], data, length, max(micro, 1), compiles)
                if not micro and "failed" in row:
                    yield row  # in the trainer's words; TRL holds the same weights and moments
                    return
                for step in row.get("steps", []):
                    if (lengths := step.pop("lengths", None)) is not None:  # of one GPU
                        share = mfu(flops.by_segments(lengths), step["seconds"], self.here["gpu"])
                        step |= {"mfu": share, "tokens_per_second_per_gpu": sum(lengths) / step["seconds"]}
                yield row | _medians(row.get("steps", []))

    def halving(self, loop: str, model: Path, data: Path, length: int, micro: int, compiles: bool) -> Row:
        """Measure, with half the micro-batch as long as memory does not suffice."""
        run = self.caravan if loop == "caravan" else self.trl
        while True:
            found = run(model, data, length, micro, compiles) | {"micro_batch": micro}
            if micro == 1 or "out of memory" not in found.get("failed", ""):
                return found
            micro //= 2

    def model(self, shape: str, length: int) -> tuple[Path, Any]:
        """A folder with config.json and a tokenizer, as both sides are given it, and the configuration."""
        from transformers import AutoTokenizer

        from caravan.train import shapes
        from caravan.train.template import TuluTemplate

        config: Any = shapes.shape("llama-7b" if self.given.smoke else shape)
        if self.given.smoke:
            config.update({"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "vocab_size": 4096})
            config.update({"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16})
        # Rotary positions have no weights: a longer sequence changes nothing but the angles.
        config.max_position_embeddings = max(config.max_position_embeddings, length)
        folder = self.folder / f"{shape}-{length}"
        config.save_pretrained(folder)
        if self.given.tokenizer:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.given.tokenizer)
        else:
            tokenizer = spread_tokenizer(config.vocab_size)
        tokenizer.chat_template = TuluTemplate(tokenizer).chat_template
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tokenizer.save_pretrained(folder)
        return folder, config

    def planned(self, folder: Path, config: Any, length: int) -> tuple[int, float]:
        """The micro-batch to take, 0 where not even one length fits, and the GiB that are predicted for it."""
        from caravan.train import machine
        from caravan.train.config import TrainConfig
        from caravan.train.plan import plan

        run = TrainConfig(
            model=str(folder), max_length=length, batch_size=self.gpus * self.rounds, batch_unit="bins",
            gpu_memory=self.here["memory_gib"] or machine.cpu_memory(),
        )  # fmt: skip
        first = plan(run, gpus=self.gpus, config=config)
        micro = min(first.largest_micro_batch, max(MOST // length, 1), 2 if self.given.smoke else MOST)
        if micro > 1:
            first = plan(run.model_copy(update={"micro_batch_size": micro}), gpus=self.gpus, config=config)
        return micro, (first.need.parts.total if self.here["gpus"] else first.need.resident) / 2**30

    def rows(self, folder: Path, length: int, micro: int) -> Path:
        """As many made-up conversations as all steps take."""
        import numpy as np
        import polars as pl
        from transformers import AutoTokenizer

        rng = np.random.default_rng(length)
        words = made_up_words()
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        a_word = len(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) / len(words)
        wanted, rows = self.lengths * micro * length, []
        while wanted > 0:
            drawn = rng.lognormal(np.log(MEDIAN), SIGMA)
            tokens = int(np.clip(drawn, SHORTEST, length * 0.95))  # a few tokens are the template's
            wanted -= tokens
            text = [words[n] for n in rng.integers(0, len(words), int((tokens - 12) / a_word))]
            asked = len(text) // 3
            said = (("user", " ".join(text[:asked])), ("assistant", " ".join(text[asked:])))
            rows.append([{"role": role, "content": content} for role, content in said])
        path = self.folder / f"rows-{length}.parquet"
        pl.DataFrame({"messages": rows}).write_parquet(path)
        return path

    def caravan(self, model: Path, data: Path, length: int, micro: int, compiles: bool) -> Row:
        """`train fsdp` until its log has the steps. It is killed then: a checkpoint and an export are not wanted."""
        import polars as pl

        from caravan.train.metrics import METRICS, read

        run = Path(tempfile.mkdtemp(dir=self.folder))
        command = [sys.executable, "-W", "ignore", "-m", "caravan.train.cli", "fsdp", str(data), "--random-weights"]
        flags = {"model": model, "out": run, "max-length": length, "micro-batch-size": micro, "batch-unit": "bins"}
        at_least = 100 * int(
            pl.scan_parquet(data).select(pl.len()).collect().item()
        )  # tokens, or what was asked is odd
        flags |= {"batch-size": self.gpus * self.rounds, "save-every": 0, "eval-every": 10**6}
        flags |= {"epochs": -(-self.lengths * micro * length // at_least) if self.given.data else 1}
        command += [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        command += ["--compile"] if compiles else []
        until = time.monotonic() + PATIENCE
        with (run / "stderr").open("wb") as errors:
            process = subprocess.Popen(command, stdout=errors, stderr=errors)
            try:
                while process.poll() is None and time.monotonic() < until:
                    if len(read(run / METRICS)) >= self.warm_up + self.steps:
                        break
                    time.sleep(0.5)
            finally:
                process.kill()
                process.wait()
                time.sleep(3 if self.gpus > 1 else 0)  # those that it started end by themselves
        records = read(run / METRICS)[self.warm_up : self.warm_up + self.steps]
        if len(records) < self.steps and time.monotonic() >= until:
            return {"failed": TOO_LONG}
        if len(records) < self.steps:
            said = (run / "stderr").read_text(encoding="utf-8", errors="replace")
            return _failed(said.replace(f"error: {model}: ", "error: "), process.returncode)
        attention = "varlen_attn" if self.here["gpus"] else "a segment a time"
        steps = [{"loss": record["loss"], **record["speed"]} for record in records]
        return {"peak_gib": max(step["memory_gib"] for step in steps), "attention": attention, "steps": steps}

    def trl(self, model: Path, data: Path, length: int, micro: int, compiles: bool) -> Row:
        """`trl_loop` in its interpreter, one process a GPU."""
        told = {"model": str(model), "data": str(data), "length": length, "micro": micro, "compiles": compiles}
        told |= {"rounds": self.rounds, "warm_up": self.warm_up, "steps": self.steps, "out": str(self.folder / "trl")}
        start = [self.given.trl, "-W", "ignore"]
        if self.gpus > 1:
            start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.gpus)]
        command = [*start, __file__, "--trl-loop", json.dumps(told)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": TOO_LONG}
        said = [line for line in done.stdout.splitlines() if line.startswith('{"peak_gib"')]
        found: Row = json.loads(said[-1]) if said else _failed(done.stderr, done.returncode)
        return found


def trl_loop(
    model: str, data: str, length: int, micro: int, compiles: bool, rounds: int, warm_up: int, steps: int, out: str
) -> None:
    """SFTTrainer as its documentation shows it; runs in TRL's interpreter, which needs nothing of caravan's."""
    import resource
    from importlib.util import find_spec

    import datasets
    import torch
    import transformers
    from trl import SFTConfig, SFTTrainer

    cuda, ranks = torch.cuda.is_available(), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    attention = "flash_attention_2" if cuda and find_spec("flash_attn") else "sdpa"
    ends: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if cuda:
                torch.cuda.synchronize()
            ends.append(time.perf_counter())
            if cuda and len(ends) == warm_up:
                torch.cuda.reset_peak_memory_stats()

    # Each as transformers advises: sharded, blocks are to be recomputed by FSDP's own wrapper.
    fsdp = {"fsdp": True, "fsdp_config": {"activation_checkpointing": True}, "gradient_checkpointing": False}
    settings = SFTConfig(
        output_dir=out, max_steps=warm_up + steps, per_device_train_batch_size=micro, max_length=length, packing=True,
        gradient_accumulation_steps=rounds, assistant_only_loss=True, bf16=True, use_cpu=not cuda, report_to=[],
        save_strategy="no", logging_steps=1, disable_tqdm=True, torch_compile=compiles, **(fsdp if ranks > 1 else {}),
    )  # fmt: skip
    config = transformers.AutoConfig.from_pretrained(model)
    auto: Any = transformers.AutoModelForCausalLM
    with device:  # random weights are drawn there
        made = auto.from_config(config, dtype=torch.float32, attn_implementation=attention)
    trainer = SFTTrainer(
        model=made,
        processing_class=transformers.AutoTokenizer.from_pretrained(model),
        train_dataset=datasets.load_dataset("parquet", data_files=data, split="train").select_columns("messages"),
        callbacks=[Clock()],
        args=settings,
    )
    seen: list[list[int]] = []
    collate = trainer.data_collator

    def counted(examples: Any) -> Any:
        batch = collate(examples)
        starts = (batch["position_ids"].flatten() == 0).nonzero().flatten().tolist()
        seen.append([b - a for a, b in pairwise([*starts, batch["position_ids"].numel()])])
        return batch

    trainer.data_collator = counted
    trainer.train()
    if trainer.args.process_index:
        return
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    measured = [
        {
            "loss": losses[n],
            "seconds": ends[n] - ends[n - 1],
            "lengths": [*chain.from_iterable(seen[n * rounds : (n + 1) * rounds])],
        }
        for n in range(warm_up, warm_up + steps)
    ]
    wrapped = type(trainer.model_wrapped).__name__  # FSDP... where it was sharded
    print(json.dumps({"peak_gib": peak / 2**30, "attention": attention, "wrapped": wrapped, "steps": measured}))


def made_up_words() -> list[str]:
    """Words of two to four syllables that mean nothing."""
    import numpy as np

    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    return ["".join(rng.choice(syllables, rng.integers(2, 5))) for _ in range(WORDS)]


def spread_tokenizer(vocabulary: int) -> Any:
    """A byte-level BPE that knows the made-up words; its ids lie evenly over 0..vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = min(vocabulary, 4096)
    made.train_from_iterator(
        [" " + word for word in made_up_words()],
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=["</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    state = json.loads(made.to_str())
    apart = vocabulary // size
    state["model"]["vocab"] = {token: number * apart for token, number in state["model"]["vocab"].items()}
    for token in state["added_tokens"]:
        token["id"] *= apart
    spread = Tokenizer.from_str(json.dumps(state))
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=spread, eos_token="</s>", pad_token="<pad>")


def _failed(said: str, code: int) -> Row:
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [f"exit code {code}"]
    memory = [line for line in lines if "out of memory" in line.lower()]
    errors = [line for line in lines if line.startswith("error:")]
    return {"failed": f"out of memory: {memory[-1]}" if memory else (errors or lines)[-1].removeprefix("error: ")}


def _medians(steps: list[Row]) -> Row:
    names = ("seconds", "tokens_per_second_per_gpu", "mfu")
    kept = {name: [step[name] for step in steps if step.get(name) is not None] for name in names}
    return {name: median(values) for name, values in kept.items() if values}


HEAD = (
    f"{'shape':<11}{'length':>7}  {'loop':<17}{'attention':<18}{'micro':>6}{'s/step':>8}{'tok/s/GPU':>11}"
    f"{'ours/TRL':>9}{'MFU':>7}{'peak GiB':>10}{'plan GiB':>10}{'peak/plan':>11}"
)


def _line(row: Row, results: list[Row]) -> str:
    name = row["loop"] + (", compiled" if row["compile"] else "")
    start = f"{row['shape']:<11}{row['length']:>7,}  {name:<17}"
    if "failed" in row:
        return f"{start}{row['failed']}"
    speed, share = row["tokens_per_second_per_gpu"], row.get("mfu")
    beside = [
        r for r in results if all(r[k] == row[k] for k in ("shape", "length", "compile")) and r["loop"] != row["loop"]
    ]
    ratio = f"{beside[0]['tokens_per_second_per_gpu'] / speed:.2f}x" if beside and "seconds" in beside[0] else ""
    ours = row["loop"] == "caravan" and row["micro_batch"] == row["planned_micro_batch"]
    plan = (f"{row['predicted_gib']:.2f}", f"{row['peak_gib'] / row['predicted_gib']:.2f}") if ours else ("", "")
    return (
        f"{start}{row['attention']:<18}{row['micro_batch']:>6}{row['seconds']:>8.3f}{speed:>11,.0f}{ratio:>9}"
        f"{'?' if share is None else f'{share:.1%}':>7}{row['peak_gib']:>10.2f}{plan[0]:>10}{plan[1]:>11}"
    )


if __name__ == "__main__":
    main()
