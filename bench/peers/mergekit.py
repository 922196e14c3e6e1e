#!/usr/bin/env python3
"""Solera beside mergekit on the same files: whole process against whole process, in turn, in one run.

    bench/peers/mergekit.py [--solera build/release/bin/solera] [--models /dev/shm/solera-bench] [--runs 3] [METHOD...]

Models come from `bench_limit make FOLDER`; mergekit 0.1.5 is installed into a scratch environment beside them. Prints median
seconds, peak anonymous memory (mapped files left out; sampled) and the ratio of the times. METHOD is any that both have and that
`bench_limit` writes a configuration for; the default takes about ten minutes.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import venv

VERSION = "0.1.5"


def install(folder):
    """A virtual environment with mergekit, made once."""
    tool = folder / "bin" / "mergekit-yaml"
    if not tool.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", f"mergekit=={VERSION}"], check=True)
    return tool


def anonymous_bytes(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:")), 0)
    except OSError:
        return 0


def run(command):
    """Seconds and peak anonymous bytes of a finished process."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env=dict(os.environ, HF_HUB_OFFLINE="1"))
    peak = 0
    while child.poll() is None:
        peak = max(peak, anonymous_bytes(child.pid))
        time.sleep(0.005)
    if child.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return time.monotonic() - start, peak


def in_turn(commands, outputs, runs):
    """Seconds (medians) and peak anonymous MiB of each command, run in turn; an output is removed before its command runs."""
    results = [[] for _ in commands]
    for _ in range(runs):
        for command, out, own in zip(commands, outputs, results):
            shutil.rmtree(out, ignore_errors=True)
            pathlib.Path(out).unlink(missing_ok=True)
            own.append(run(command))
    return ([statistics.median(t for t, _ in own) for own in results], [max(m for _, m in own) / 2**20 for own in results])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--solera", default="build/release/bin/solera")
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("/dev/shm/solera-bench"))
    parser.add_argument("--environment", type=pathlib.Path, default=pathlib.Path("/tmp/solera-peers"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("methods", nargs="*", 
                        default=["linear", "slerp", "ties", "breadcrumbs", "breadcrumbs_ties", "dare_linear",
                                 "dare_ties", "della", "sce", "model_stock"])
    args = parser.parse_args()

    limit = pathlib.Path(args.solera).parent / "bench_limit"
    if not (args.models / "c" / "model.safetensors").exists():
        subprocess.run([limit, "make", args.models], check=True)
    # bench_limit writes the configurations; one pair is enough for that.
    subprocess.run([limit, "--models", args.models, "--pairs", "1", *args.methods], check=True, stdout=subprocess.DEVNULL)
    tool = install(args.environment)
    print(f"mergekit {VERSION} against solera, {args.runs} runs each, {os.cpu_count()} cores")
    for method in args.methods:
        config, out = args.models / f"{method}.yaml", args.models / "out"
        seconds, memory = in_turn([[tool, config, out, "--no-write-model-card"],
                                   [args.solera, "merge", config, "-o", out, "--memory", "256MiB"]], [out, out], args.runs)
        shutil.rmtree(out, ignore_errors=True)
        print(f"{method:16} mergekit {seconds[0]:6.2f} s {memory[0]:5.0f} MiB   solera {seconds[1]:.3f} s {memory[1]:3.0f} MiB"
              f"   {seconds[0] / seconds[1]:.0f} times", flush=True)


if __name__ == "__main__":
    main()
