#!/usr/bin/env python3
"""Writing GGUF (Q8_0) and extracting LoRA adapters beside the Python tools: whole process against whole process, in one run.

    bench/peers/formats.py [--solera build/release/bin/solera] [--models /dev/shm/solera-bench] [--runs 3] [gguf] [lora]

Models come from `bench_limit make FOLDER`. GGUF's peer is the package `gguf`, llama.cpp's own: its conversion script, which is in no
package index, passes every tensor through the same functions. The bytes of all tensors that are not permuted are compared. LoRA's
peer is mergekit-extract-lora; the share of the squared change that each adapter leaves out is printed beside the times.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import textwrap

from mergekit import in_turn, install  # beside this file

RANK = 16

WRITE_GGUF = """
import sys, gguf, torch
from gguf import quants
from safetensors import safe_open
folder, out = sys.argv[1:]
kind = gguf.GGMLQuantizationType
writer = gguf.GGUFWriter(out, "llama")
names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 12)
with safe_open(folder + "/model.safetensors", "pt") as model:
    for name in model.keys():
        values = model.get_tensor(name).to(torch.float32).numpy()
        target = kind.Q8_0 if values.ndim > 1 else kind.F32
        writer.add_tensor(names.get_name(name, (".weight",)), quants.quantize(values, target), raw_dtype=target)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
"""

COMPARE_GGUF = """
import sys, gguf
ours, theirs = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in sys.argv[1:])
assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
same = [(ours[n].data.tobytes() == theirs[n].data.tobytes()) for n in ours if ".attn_q." not in n and ".attn_k." not in n]
print(f"gguf: {sum(same)} of {len(same)} tensors that are not permuted are equal byte for byte")
"""

LEFT_OUT = """
import sys, json, torch
from safetensors import safe_open
base, tuned, adapter = sys.argv[1:]
config = json.load(open(adapter + "/adapter_config.json"))
lost = whole = count = 0
with safe_open(base + "/model.safetensors", "pt") as b, safe_open(tuned + "/model.safetensors", "pt") as t, \\
     safe_open(adapter + "/adapter_model.safetensors", "pt") as a:
    for key in a.keys():
        if not key.endswith(".lora_A.weight"): continue
        name = key.removeprefix("base_model.model.").replace(".lora_A", "")
        change = t.get_tensor(name).float() - b.get_tensor(name).float()
        left = a.get_tensor(key).float(), a.get_tensor(key.replace("lora_A", "lora_B")).float()
        rank = config.get("rank_pattern", {}).get(name.removesuffix(".weight"), config["r"])
        alpha = config.get("alpha_pattern", {}).get(name.removesuffix(".weight"), config["lora_alpha"])
        lost += float((change - alpha / rank * left[1] @ left[0]).square().sum())
        whole += float(change.square().sum())
        count += 1
print(f"{count} modules, {lost / whole:.4f} of the squared change left out")
"""


def compare(name, theirs, ours, out, runs):
    """Both commands in turn; their outputs are left at their places."""
    seconds, memory = in_turn([theirs, ours], out, runs)
    print(f"{name:6} peer {seconds[0]:6.2f} s {memory[0]:5.0f} MiB   solera {seconds[1]:.2f} s {memory[1]:4.0f} MiB"
          f"   {seconds[0] / seconds[1]:.1f} times", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--solera", default="build/release/bin/solera")
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("/dev/shm/solera-bench"))
    parser.add_argument("--environment", type=pathlib.Path, default=pathlib.Path("/tmp/solera-peers"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("what", nargs="*", default=["gguf", "lora"])
    args = parser.parse_args()

    if not (args.models / "c" / "model.safetensors").exists():
        subprocess.run([pathlib.Path(args.solera).parent / "bench_limit", "make", args.models], check=True)
    install(args.environment)
    python = args.environment / "bin" / "python"
    subprocess.run([args.environment / "bin" / "pip", "install", "--quiet", "gguf"], check=True)
    base, tuned = args.models / "base", args.models / "a"
    if "gguf" in args.what:
        out = args.models / "theirs.gguf", args.models / "ours.gguf"
        compare("gguf", [python, "-c", textwrap.dedent(WRITE_GGUF), tuned, out[0]],
                [args.solera, "convert", tuned, out[1], "--dtype", "q8_0"], out, args.runs)
        subprocess.run([python, "-c", textwrap.dedent(COMPARE_GGUF), out[1], out[0]], check=True)
        for path in out:
            path.unlink()
    if "lora" in args.what:
        out = args.models / "theirs-lora", args.models / "ours-lora"
        compare("lora", [args.environment / "bin" / "mergekit-extract-lora", "--model", tuned, "--base-model", base,
                         "--out-path", out[0], "--max-rank", str(RANK), "--exclude-regex", "lm_head|embed_tokens|norm"],
                [args.solera, "delta", base, tuned, "--lowrank", str(RANK), "--exclude", "lm_head*",
                 "--exclude", "*embed_tokens*", "--exclude", "*norm*", "-o", out[1]], out, args.runs)
        for who, path in zip(("peer", "solera"), out):
            print(f"lora, {who}: ", end="", flush=True)
            subprocess.run([python, "-c", textwrap.dedent(LEFT_OUT), base, tuned, path], check=True)
            shutil.rmtree(path)


if __name__ == "__main__":
    sys.exit(main())
