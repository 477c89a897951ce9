"""Ready entries for those who train with it: datasets, TRL, axolotl, LLaMA-Factory.

Field names follow the projects' own pages: `data/README.md` of LLaMA-Factory (the OpenAI form is its sharegpt format
with these tags), `docs/dataset-formats/conversation.qmd` and `docs/dataset_loading.qmd` of axolotl, "SFT Trainer" of
TRL. All paths are relative to the mixture folder.
"""

import json
from pathlib import Path

from caravan.mixtures.manifest import Manifest

TRAIN, VALIDATION = "mix.parquet", "validation.parquet"
NAME = "caravan_mix"  # what LLaMA-Factory's `dataset:` says; with `_validation` behind it for the held-back split


def splits(manifest: Manifest) -> dict[str, str]:
    """The split's name -> the file that holds it, in the mixture folder."""
    return {"train": TRAIN} | ({"validation": VALIDATION} if manifest.validation.examples else {})


def dataset_info(manifest: Manifest) -> dict[str, object]:
    """The entries of LLaMA-Factory's `dataset_info.json`, one a split."""
    return {
        NAME if split == "train" else f"{NAME}_{split}": dataset_entry(file) for split, file in splits(manifest).items()
    }


def dataset_entry(file: str) -> dict[str, object]:
    """What LLaMA-Factory's `dataset_info.json` says of one file of conversations."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
        "observation_tag": "tool",
    }
    return {"file_name": file, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}


def axolotl(files: dict[str, str]) -> str:
    """The `datasets:` stanza of an axolotl configuration, one a split; the loss is on the assistant's turns."""
    lines = []
    for split, file in files.items():
        lines += [
            "datasets:" if split == "train" else "test_datasets:",
            f"  - path: {file}",
            "    ds_type: parquet",
            "    split: train",  # a file read by itself has one split, and it is called train
            "    type: chat_template",
            "    field_messages: messages",
            '    roles_to_train: ["assistant"]',
        ]
    return "\n".join(lines) + "\n"


def trl(manifest: Manifest) -> str:
    """A program that trains with TRL's SFTTrainer."""
    held = "validation" in splits(manifest)
    evaluation = '\n    eval_dataset=mix["validation"],' if held else ""
    return f"""\
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

files = {json.dumps(splits(manifest))}
mix = load_dataset("parquet", data_files=files).select_columns(["messages"])
trainer = SFTTrainer(
    model="huggyllama/llama-7b",
    train_dataset=mix["train"],{evaluation}
    args=SFTConfig(max_length=2048, assistant_only_loss=True),
)
trainer.train()
"""


def snippets(manifest: Manifest) -> str:
    """All of the above as Markdown, each with the one thing to know."""
    return f"""\
Run these in the folder that holds `{TRAIN}`. `messages` is a list of {{role, content}}; roles are system, user,
assistant and tool. A row that stands in the mixture more than once has `repeat` 1, 2, ...

**datasets**

```python
from datasets import load_dataset

mix = load_dataset("parquet", data_files={json.dumps(splits(manifest))})
```

**TRL** (`assistant_only_loss` needs a chat template that marks the assistant's part with `{{% generation %}}`; without
one, leave it out and the loss runs over all turns)

```python
{trl(manifest)}```

**axolotl** (also in `axolotl.yaml`)

```yaml
{axolotl(splits(manifest))}```

**LLaMA-Factory** (`dataset_info.json` lies beside the data; in the training configuration, with the path of this
folder; it drops a conversation whose turns do not alternate, with a warning)

```yaml
dataset_dir: .
dataset: {NAME}
```
"""


FILES = ("dataset_info.json", "axolotl.yaml", "handover.md")


def write(folder: Path, manifest: Manifest) -> None:
    """Write `dataset_info.json`, `axolotl.yaml` and `handover.md` into the mixture folder."""
    info = json.dumps(dataset_info(manifest), indent=2) + "\n"
    (folder / "dataset_info.json").write_text(info, encoding="utf-8")
    (folder / "axolotl.yaml").write_text(axolotl(splits(manifest)), encoding="utf-8")
    page = "# How to train with this mixture\n\n" + snippets(manifest)
    (folder / "handover.md").write_text(page, encoding="utf-8")
