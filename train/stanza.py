"""The same run for other trainers: a program for TRL, configurations for axolotl and LLaMA-Factory.

Each says what it does otherwise than caravan, with the counts of these very rows. Option names were checked against TRL
1.16, axolotl 0.21 and LLaMA-Factory 0.9.5.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caravan.mixtures import handover
from caravan.terminal import Progress
from caravan.train import hub
from caravan.train.chat_template import template_for
from caravan.train.config import TrainConfig
from caravan.train.others import Run, batch_words, differences, rounds_of
from caravan.train.prepare import read_tokenizer
from caravan.train.rows import Rows, read_rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens, tokenise

TOOLS = ("trl", "axolotl", "llama-factory")
LISTED = 500  # rows that the TRL program leaves out by number, at most


def stanzas(config: TrainConfig, rows: Rows, tokenizer: Any, template: Template, tokens: Tokens) -> dict[str, str]:
    """The text of each of `TOOLS` for the run `config` over these rows and their `tokens`."""
    beside = rows.path.parent / handover.VALIDATION
    held_out = Path(config.validation) if config.validation else beside if beside.is_file() else None
    run = Run(config, rows, tokenizer, template, tokens, rounds_of(config, tokens), held_out)
    return {"trl": _trl(run), "axolotl": _axolotl(run), "llama-factory": _llama_factory(run)}


def stanza_of(config: TrainConfig, tool: str, progress: Progress) -> str:
    """As `stanzas`, for one of `TOOLS`, from what the configuration names."""
    tokenizer = read_tokenizer(hub.find_model(config.model, weights=False))
    template = template_for(config.template, tokenizer)
    rows = read_rows(config.data, progress)
    tokens = tokenise(rows, tokenizer, template, config.max_length, progress)
    return stanzas(config, rows, tokenizer, template, tokens)[tool]


def _comment(sentences: list[str]) -> str:
    """Sentences as a comment; one that begins with a dollar sign is a command, and stays in one line."""
    lines = []
    for sentence in sentences:
        if sentence.startswith("$"):
            lines.append(f"#   {sentence}")
            continue
        lines += textwrap.wrap(sentence, 112, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """A number that YAML 1.1 reads as one: 2e-05 would be a text."""
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _yaml(pairs: Mapping[str, Any]) -> str:
    """One `key: value` a line; texts as JSON, which is YAML."""
    lines = []
    for name, value in pairs.items():
        if isinstance(value, Mapping):
            lines += [f"{name}:", *(f"  {line}" for line in _yaml(value).splitlines())]
        elif value is not None:
            lines.append(f"{name}: {_number(value) if isinstance(value, float) else json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _schedule(config: TrainConfig) -> str:
    return "constant_with_warmup" if config.schedule == "constant" else config.schedule


def _intervals(run: Run) -> dict[str, Any]:
    """When to save and evaluate: the names are the Trainer's, and so the same in all three."""
    config = run.config
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": config.save_every} if config.save_every else {}
    evaluating: dict[str, Any] = {}
    if run.held_out is not None:
        evaluating = {"eval_strategy": "epoch"}
        if config.eval_every:
            evaluating = {"eval_strategy": "steps", "eval_steps": config.eval_every}
    return saving | {"save_total_limit": config.keep} | evaluating


def _trl(run: Run) -> str:
    config = run.config
    arguments: dict[str, Any] = {
        "output_dir": f"{config.out}-trl",
        "max_length": config.max_length,
        "assistant_only_loss": True,
        "packing": config.packing,
        "packing_strategy": "bfd" if config.packing else None,
        "per_device_train_batch_size": run.rounds.each,
        "gradient_accumulation_steps": run.rounds.rounds,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps,
        "optim": "adamw_torch_fused",
        "learning_rate": config.lr,
        "lr_scheduler_type": _schedule(config),
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "max_grad_norm": config.clip,
        "seed": config.seed % 2**32,
        "shuffle_dataset": True if config.packing else None,
        "bf16": config.precision == "bf16",
        "gradient_checkpointing": config.activation_checkpointing != "none",
        "use_liger_kernel": config.liger or None,
        "torch_compile": config.compile or None,
        "logging_steps": 1,
        **_intervals(run),
        "report_to": list(config.trackers) or "none",
        "model_init_kwargs": {"dtype": "float32"}
        | ({"attn_implementation": "flash_attention_2"} if config.packing else {}),
    }
    written = "".join(f"    {name}={value!r},\n" for name, value in arguments.items() if value is not None)
    lora = f"    peft_config=LoraConfig(r={config.lora_rank}, lora_alpha={config.lora_alpha!r}, "
    files = {"train": str(run.rows.path)} | ({"validation": str(run.held_out)} if run.held_out else {})
    return (
        '"""The run that `train fsdp` makes, for TRL 1.16 and transformers 5."""\n\n'
        + _comment(_trl_words(run))
        + "\nfrom datasets import load_dataset\n"
        + ("from peft import LoraConfig\n" if config.lora_rank else "")
        + "from transformers import AutoTokenizer\nfrom trl import SFTConfig, SFTTrainer\n\n"
        + f"MODEL = {config.model!r}\nTEMPLATE = {run.template.chat_template!r}\n{_left_out(run)}\n"
        + "tokenizer = AutoTokenizer.from_pretrained(MODEL)\ntokenizer.chat_template = TEMPLATE\n"
        + f'mix = load_dataset("parquet", data_files={files!r}).select_columns(["messages"])\n'
        + 'kept = [row for row in range(len(mix["train"])) if row not in LEFT_OUT]\n'
        + f"arguments = SFTConfig(\n{written})\n"
        + "trainer = SFTTrainer(\n    model=MODEL,\n    args=arguments,\n    processing_class=tokenizer,\n"
        + '    train_dataset=mix["train"].select(kept),\n'
        + ('    eval_dataset=mix["validation"],\n' if run.held_out else "")
        + (f'{lora}target_modules="all-linear"),\n' if config.lora_rank else "")
        + ")\ntrainer.train()\ntrainer.save_model()\n"
    )


def _trl_words(run: Run) -> list[str]:
    config = run.config
    offload = " --fsdp_offload_params true" if config.cpu_offload else ""
    words = [
        "Save it as train_trl.py, and on each node:",
        f"$ accelerate launch --num_processes {run.rounds.gpus} "
        f"--num_machines {config.nnodes} --mixed_precision {'bf16' if config.precision == 'bf16' else 'no'} --use_fsdp "
        "--fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_reshard_after_forward true "
        f"--fsdp_state_dict_type FULL_STATE_DICT{offload} train_trl.py",
        batch_words(run, "packing", "per_device_train_batch_size", "gradient_accumulation_steps"),
        "Without assistant_only_loss TRL trains every token, questions too. It takes a template with "
        "{% generation %} marks that hold the stop token.",
    ]
    if "{% generation %}" not in run.template.chat_template.replace("{%-", "{%").replace("-%}", "%}"):
        words.append(
            "THIS template has no such marks: TRL puts its own in place for the models it knows and refuses the "
            "others. `--template tulu` has them."
        )
    if config.packing:
        words.append(
            "Packing keeps conversations apart only with flash attention (pip install flash-attn, or name a kernel of "
            "the hub): under sdpa they may see one another. Packed rows without any loss stay in."
        )
    return words + differences(run, "trl")


def _left_out(run: Run) -> str:
    """Numbers of the rows that carry no loss or that the template refuses: TRL stops at the first of them."""
    kept = set(run.tokens.row.tolist())
    left_out = [row for row in range(run.rows.frame.height) if row not in kept]
    if len(left_out) > LISTED:
        words = [f"{len(left_out):,} rows carry no loss or are refused by the template, and TRL stops at the first."]
        return (
            _comment([*words, "Leave them out before: caravan lists them in left_out.parquet."]) + "LEFT_OUT = set()\n"
        )
    numbers = textwrap.fill(", ".join(map(str, left_out)), 110, initial_indent="    ", subsequent_indent="    ")
    return (
        f"LEFT_OUT = {{  # rows without loss, at which TRL would stop\n{numbers}\n}}\n"
        if left_out
        else "LEFT_OUT = set()\n"
    )


def _axolotl(run: Run) -> str:
    config = run.config
    files = {"train": str(run.rows.path)} | ({"validation": str(run.held_out)} if run.held_out else {})
    stops = run.tokenizer.convert_ids_to_tokens(run.template.stop_tokens)
    pairs: dict[str, Any] = {
        "chat_template": "jinja",
        "chat_template_jinja": run.template.chat_template,
        "eot_tokens": stops if stops != [run.tokenizer.eos_token] else None,
        "special_tokens": {"pad_token": run.tokenizer.eos_token} if run.tokenizer.pad_token is None else None,
        "output_dir": f"{config.out}-axolotl",
        "sequence_len": config.max_length,
        "excess_length_strategy": "truncate",
        "sample_packing": config.packing,
        "attn_implementation": "flash_attention_2" if config.packing else None,
        "micro_batch_size": run.rounds.each,
        "gradient_accumulation_steps": run.rounds.rounds,
        "num_epochs": config.epochs,
        "max_steps": config.max_steps,
        "optimizer": "adamw_torch_fused",
        "learning_rate": config.lr,
        "lr_scheduler": _schedule(config),
        "warmup_ratio": config.warmup,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "max_grad_norm": config.clip,
        "seed": config.seed % 2**32,
        "bf16": config.precision == "bf16",
        "gradient_checkpointing": config.activation_checkpointing != "none",
        "torch_compile": config.compile or None,
        "logging_steps": 1,
        **_intervals(run),
        "adapter": "lora" if config.lora_rank else None,
        "lora_r": config.lora_rank or None,
        "lora_alpha": round(config.lora_alpha) if config.lora_rank else None,
        "lora_target_linear": True if config.lora_rank else None,
        "fsdp_version": 2 if run.rounds.gpus > 1 else None,
        "fsdp_config": None,
    }
    if run.rounds.gpus > 1:
        pairs["fsdp_config"] = {
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "FULL_STATE_DICT",
            "offload_params": config.cpu_offload,
        }
    words = [
        "The run that `train fsdp` makes, for axolotl 0.21. Save it as axolotl.yaml, and:",
        "$ axolotl train axolotl.yaml",
        batch_words(run, "sample_packing", "micro_batch_size", "gradient_accumulation_steps"),
        "`roles_to_train` and `train_on_eos: turn` put the loss on answers and their stop tokens.",
        *differences(run, "axolotl"),
    ]
    data = handover.axolotl({split: json.dumps(file) for split, file in files.items()})
    data = data.replace("    roles_to_train", "    train_on_eos: turn\n    roles_to_train")
    return _comment(words) + _yaml({"base_model": config.model}) + data + _yaml(pairs)


def _llama_factory(run: Run) -> str:
    config = run.config
    pairs: dict[str, Any] = {
        "model_name_or_path": config.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if config.lora_rank else "full",
        "lora_rank": config.lora_rank or None,
        "lora_alpha": round(config.lora_alpha) if config.lora_rank else None,
        "lora_target": "all" if config.lora_rank else None,
        "dataset_dir": str(run.rows.path.parent),
        "dataset": handover.NAME,
        "eval_dataset": f"{handover.NAME}_validation" if run.held_out else None,
        "cutoff_len": config.max_length + (1 if config.packing else 0),  # packing takes one off
        "packing": config.packing,
        "neat_packing": config.packing,
        "flash_attn": "fa2" if config.packing else None,
        "output_dir": f"{config.out}-llama-factory",
        "per_device_train_batch_size": run.rounds.each,
        "gradient_accumulation_steps": run.rounds.rounds,
        "num_train_epochs": float(config.epochs),
        "max_steps": config.max_steps,
        "optim": "adamw_torch_fused",
        "learning_rate": config.lr,
        "lr_scheduler_type": _schedule(config),
        "warmup_ratio": config.warmup,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "max_grad_norm": config.clip,
        "seed": config.seed % 2**32,
        "bf16": config.precision == "bf16",
        "disable_gradient_checkpointing": True if config.activation_checkpointing == "none" else None,
        "enable_liger_kernel": config.liger or None,
        "torch_compile": config.compile or None,
        "logging_steps": 1,
        **_intervals(run),
        "report_to": ",".join(config.trackers) or "none",
    }
    entries = {handover.NAME: handover.dataset_entry(run.rows.path.name)}
    if run.held_out is not None:
        entries[f"{handover.NAME}_validation"] = handover.dataset_entry(run.held_out.name)
    words = [
        "The run that `train fsdp` makes, for LLaMA-Factory 0.9.5. Save it as llama_factory.yaml, and in its "
        f"repository, with num_processes: {run.rounds.gpus} in the file of accelerate:",
        "$ accelerate launch --config_file examples/accelerate/fsdp2_config.yaml src/train.py llama_factory.yaml",
        batch_words(run, "packing and neat_packing", "per_device_train_batch_size", "gradient_accumulation_steps"),
        "`packing` alone lets conversations see one another: neat_packing keeps them apart. Packing happens within "
        "1,000 rows at a time (preprocessing_batch_size).",
        "No `template:` here, so it is read off the tokenizer's chat template: save the text below as "
        "chat_template.jinja in the model's folder. What follows an answer there, such as a line break after its stop "
        "token, carries loss as well.",
        *differences(run, "llama-factory"),
    ]
    return (
        _comment(words)
        + f"# chat_template.jinja, as JSON: {json.dumps(run.template.chat_template)}\n"
        + f"# dataset_info.json in dataset_dir: {json.dumps(entries)}\n"
        + _yaml(pairs)
    )
