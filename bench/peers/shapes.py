#!/usr/bin/env python3
"""Configurations of the shapes that people publish, unchanged through mergekit and Solera, on small models of each family.

    bench/peers/shapes.py [--solera build/release/bin/solera] [--environment /tmp/solera-peers] [--keep FOLDER]

transformers makes small random models of the naming schemes of Llama, Mistral, Qwen2, Gemma, GPT-2 and BERT, with tokenizers
of different vocabularies. Each configuration runs in both programs; tensors are compared in float64, relative to the largest
value of the tensor. Random methods have masks of their own, so of those only names, shapes and the share of entries that
changed are compared. At the end transformers loads Solera's Llama and generates.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from mergekit import install  # beside this file

ALL = ["llama", "mistral", "qwen2", "gemma", "gpt2", "bert"]
LAYERED = ["llama", "mistral", "qwen2", "gemma"]
SHAPES = {
    "linear": (ALL, """
models:
  - {model: a, parameters: {weight: 0.6}}
  - {model: b, parameters: {weight: 0.4}}
merge_method: linear
dtype: float32
"""),
    "ties": (LAYERED, """
models:
  - model: base
  - model: a
    parameters: {density: [1, 0.7, 0.3], weight: 1.0}
  - model: b
    parameters:
      density: 0.33
      weight:
        - {filter: mlp, value: 0.5}
        - value: 0.25
merge_method: ties
base_model: base
parameters: {normalize: true, int8_mask: true}
dtype: float32
"""),
    "gradient slerp": (LAYERED, """
slices:
  - sources:
      - {model: a, layer_range: [0, 4]}
      - {model: b, layer_range: [0, 4]}
merge_method: slerp
base_model: a
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
    - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
    - value: 0.5
dtype: float32
"""),
    "arcee_fusion": (["llama", "mistral"], """
models: [{model: base}, {model: a}]
merge_method: arcee_fusion
base_model: base
dtype: float32
"""),
    "stacked passthrough": (["llama", "mistral", "gemma"], """
slices:
  - sources: [{model: a, layer_range: [0, 3]}]
  - sources: [{model: b, layer_range: [1, 4]}]
merge_method: passthrough
dtype: float32
"""),
    "della, union": (["llama", "mistral"], """
models:
  - model: a
    parameters: {density: 0.5, weight: 0.5, epsilon: 0.1}
  - model: b
    parameters: {density: 0.6, weight: 0.3, epsilon: 0.1}
merge_method: della
base_model: base
parameters: {normalize: true, lambda: 1.0}
tokenizer_source: union
dtype: float32
"""),
}
RANDOM = {"della, union"}

# Runs in the peers' environment, where torch and transformers are.
MAKE = '''
import json, pathlib, sys, torch, transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers
folder = pathlib.Path(sys.argv[1])
common = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=64,
              initializer_range=0.25)  # large enough for arcee_fusion's divergences to be more than rounding
kinds = {
  "llama": (t.LlamaConfig(vocab_size=40, num_key_value_heads=2, **common), t.LlamaForCausalLM),
  "mistral": (t.MistralConfig(vocab_size=40, num_key_value_heads=2, **common), t.MistralForCausalLM),
  "qwen2": (t.Qwen2Config(vocab_size=40, num_key_value_heads=2, **common), t.Qwen2ForCausalLM),
  "gemma": (t.GemmaConfig(vocab_size=40, num_key_value_heads=2, head_dim=8, **common), t.GemmaForCausalLM),
  "gpt2": (t.GPT2Config(vocab_size=40, n_embd=32, n_layer=4, n_head=4, n_positions=64), t.GPT2LMHeadModel),
  "bert": (t.BertConfig(vocab_size=40, **common), t.BertForSequenceClassification),
}
config, make = kinds[sys.argv[2]]
base = None
for number, name in enumerate(["base", "a", "b"]):
    torch.manual_seed(number)
    model = make(config)
    if base is None:
        base = {key: value.clone() for key, value in model.state_dict().items()}
    else:  # noise, so that no two changes are equal, as those of fresh norms would be
        model.load_state_dict({key: base[key] + 0.05 * torch.randn(value.shape) if value.is_floating_point() else value
                               for key, value in model.state_dict().items()})
        model.tie_weights()
    model.save_pretrained(folder / name)
    words = ["<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(36)] + [{"base": "x", "a": "left", "b": "right"}[name]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>",
                              unk_token="<unk>").save_pretrained(folder / name)
'''
COMPARE = '''
import sys, torch
from safetensors.torch import load_file
theirs, ours, base = (load_file(f"{folder}/model.safetensors") for folder in sys.argv[1:4])
random, difference, changed = sys.argv[4] == "1", 0.0, [0, 0, 0]
if set(theirs) != set(ours):
    sys.exit(f"other tensors: {sorted(set(theirs) ^ set(ours))}")
for name, x in theirs.items():
    y = ours[name]
    if x.shape != y.shape or x.dtype != y.dtype:
        sys.exit(f"{name}: {x.dtype} {list(x.shape)} and {y.dtype} {list(y.shape)}")
    if random:
        if name in base and base[name].shape == x.shape:
            changed = [c + int(n) for c, n in zip(changed, [(x != base[name]).sum(), (y != base[name]).sum(), x.numel()])]
        continue
    x, y = x.double(), y.double()
    difference = max(difference, float((x - y).abs().max() / x.abs().max().clamp(min=1e-30)))
print(f"changed {changed[0] / changed[2]:.3f} and {changed[1] / changed[2]:.3f} of all" if random
      else f"largest difference {difference:.1e}")
'''
GENERATE = '''
import sys, transformers as t
model = t.AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = t.AutoTokenizer.from_pretrained(sys.argv[1])
ids = model.generate(**tokenizer("w1 w2 w3", return_tensors="pt", return_token_type_ids=False), max_new_tokens=8,
                     do_sample=False, pad_token_id=1)
print("transformers loads the merged Llama and writes:", tokenizer.decode(ids[0]))
'''


def call(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          env=dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error"), **options)


def last_line(result):
    lines = (result.stderr or result.stdout).strip().splitlines()
    return lines[-1] if lines else f"status {result.returncode}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--solera", type=pathlib.Path, default=pathlib.Path("build/release/bin/solera"))
    parser.add_argument("--environment", type=pathlib.Path, default=pathlib.Path("/tmp/solera-peers"))
    parser.add_argument("--keep", type=pathlib.Path, help="a new folder for models and outputs, which stay")
    args = parser.parse_args()
    tool, python = install(args.environment), args.environment / "bin" / "python"
    root = args.keep or pathlib.Path(tempfile.mkdtemp())
    failures = 0
    try:
        for family in ALL:
            folder = root / family
            folder.mkdir(parents=True)
            made = call([python, "-c", MAKE, folder, family])
            if made.returncode:
                sys.exit(f"{family}: {last_line(made)}")
            for name, (families, text) in SHAPES.items():
                if family not in families:
                    continue
                config = folder / f"{name}.yaml"
                config.write_text(text)
                theirs = call([tool, config.name, f"{name}.mergekit", "--no-write-model-card"], cwd=folder)
                ours = call([args.solera.resolve(), "merge", config.name, "-o", f"{name}.solera"], cwd=folder)
                if ours.returncode:
                    verdict, bad = f"solera: {last_line(ours)}", True
                elif theirs.returncode:
                    verdict, bad = f"mergekit fails ({last_line(theirs)}); solera merges", False
                else:
                    outcome = call([python, "-c", COMPARE, f"{name}.mergekit", f"{name}.solera", "base",
                                    int(name in RANDOM)], cwd=folder)
                    verdict, bad = last_line(outcome), outcome.returncode != 0
                failures += bad
                print(f"{family:8} {name:20} {verdict}", flush=True)
        written = call([python, "-c", GENERATE, root / "llama" / "ties.solera"])
        print(written.stdout.strip().splitlines()[-1] if written.returncode == 0 else last_line(written))
    finally:
        if not args.keep:
            shutil.rmtree(root)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
