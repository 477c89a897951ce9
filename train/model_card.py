"""The model card: a README with the Hugging Face model-card header, every number taken from the run.

Header keys as in https://github.com/huggingface/hub-docs/blob/main/modelcard.md. No licence is put into the header: the
base model's holds, and those of the data; which ones do is said in the text.
"""

import re
from pathlib import Path
from typing import Any

from caravan import __version__
from caravan.mixtures.card import UNKNOWN, escaped, licence_section, markdown_table, yaml_text
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.loadback import Agreement
from caravan.train.rows import Rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens

LOAD = """## How to load it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or its name on the hub
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
question = [{"role": "user", "content": "Which planet is the largest?"}]
ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**ids, max_new_tokens=200)[0, ids["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```
"""


def model_card(
    config: TrainConfig, rows: Rows, tokens: Tokens, template: Template, agreement: Agreement, results: dict[str, Any]
) -> str:
    """The card's text."""
    base = base_name(config)
    method = "direct preference optimisation" if isinstance(config, DPOConfig) else "supervised fine-tuning"
    command = "dpo" if isinstance(config, DPOConfig) else "fsdp"
    how = (
        f"low-rank adapters of rank {config.lora_rank}, merged into the weights" if config.lora_rank else "all weights"
    )
    parts = [
        _header(config),
        f"# {escaped(base.rpartition('/')[2])}, fine-tuned\n",
        f"{escaped(base)} after {method} ({how}) on {tokens.lengths.size:,} conversations."
        f" {int((tokens.turns != 0).sum()):,} of their {int(tokens.offsets[-1]):,} tokens carried loss.\n",
        _data(rows, tokens),
        f"## Recipe\n\n{markdown_table(['option', 'value'], _options(config), left=2)}"
        f"\n`train.toml` has every option: `train {command} --config train.toml` runs it again.\n",
        f"## Results\n\n{markdown_table(['figure', 'value'], _figures(results), left=2)}" if results else "",
        LOAD,
        f"An answer ends with {_stops(template)}, which the generation config names.\n",
        _checked(agreement),
        f"Made with caravan {escaped(__version__)}.\n",
    ]
    return "\n".join(part for part in parts if part)


def _header(config: TrainConfig) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if "/" in base_name(config):
        lines.append(f"base_model: {yaml_text(base_name(config))}")
    return "\n".join([*lines, "tags:", "- instruction-tuning", "- caravan", "---", ""])


def base_name(config: TrainConfig) -> str:
    """The base model's name on the hub, or that of its folder: where that lies is nobody's business."""
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", config.model) and not Path(config.model).exists()
    return config.model.partition("@")[0] if on_hub else Path(config.model).resolve().name


def _data(rows: Rows, tokens: Tokens) -> str:
    licences = {s.name: ", ".join(s.licences) for s in rows.manifest.sources} if rows.manifest else {}
    whole = max(sum(source.supervised for source in tokens.account.values()), 1)
    table = [
        [
            name,
            licences.get(name) or UNKNOWN,
            f"{source.used:,}",
            f"{source.tokens:,}",
            f"{source.supervised:,}",
            f"{source.supervised / whole:.1%}",
        ]
        for name, source in tokens.account.items()
    ]
    head = ["source", "licence", "rows", "tokens", "tokens with loss", "share of them"]
    text = f"## Data\n\n{markdown_table(head, table, left=2)}\nContent hash `{escaped(rows.content_hash)}`."
    if rows.manifest is None:
        return text + "\n"
    if rows.manifest.embedded_samples:
        text += "\n\n**The data are the embedded samples**, written to try the tool out: this is no model to use."
    text += (
        " `manifest.json` says how the mixture was made.\n\nThe base model's licence holds, and those of the data:\n"
    )
    return text + "\n" + licence_section(rows.manifest).replace("## Licences", "### Licences of the data")


def _options(config: TrainConfig) -> list[list[str]]:
    told = config.same_run() | {"model": base_name(config)}
    return [[name, "not set" if value is None else str(value)] for name, value in told.items()]


def _figures(results: dict[str, Any], prefix: str = "") -> list[list[str]]:
    found = []
    for name, value in results.items():
        if isinstance(value, dict):
            found += _figures(value, f"{prefix}{name}: ")
        elif value is not None:
            found.append([prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)])
    return found


def _stops(template: Template) -> str:
    ids = ", ".join(map(str, template.stop_tokens))
    return f"token {ids}" if ids else "no token of its own"


def _checked(agreement: Agreement) -> str:
    same = "the same" if agreement.difference == 0 else f"the same to {agreement.difference:.1g} of their spread"
    return (
        "## Checked\n\nThis folder was loaded back with transformers before it got its name:"
        f" {agreement.tensors:,} tensors are those that were trained, bit for bit; logits at {agreement.positions:,}"
        f" positions of training rows are {same} (root mean square; allowed: {agreement.tolerance:.1g}); greedy"
        f" decoding takes the same token at {agreement.greedy:,} of them. Tokenizer and chat template give the ids that"
        " were trained on.\n"
    )
