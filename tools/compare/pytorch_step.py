#!/usr/bin/env python3
"""Times a whole MAE training step, ours and PyTorch's in turn, and prints the ratio of medians.

    tools/compare/pytorch_step.py --arch vit_tiny --image-size 32 --patch-size 4 --batch-size 128

Both do forward, backward and AdamW on pictures that are in memory already. Each round starts ours
as a process of its own (./tessera bench step) and then PyTorch's steps in a child of this script,
so that each has the machine to itself and its peak memory is its own. Needs a python with torch:
Debian's python3-torch with libopenblas0-openmp, or PyPI's."""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def pytorch_side(args):
    import resource
    import time
    import torch
    sys.path.insert(0, HERE)
    import pytorch_mae

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = pytorch_mae.preset(args.arch, args.image_size, args.patch_size)
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05},
                                   {"params": plain, "weight_decay": 0.0}],
                                  lr=1e-4, betas=(0.9, 0.95))
    step_model = model
    if args.mode == "compile":
        step_model = torch.compile(model)
    patches = (args.image_size // args.patch_size) ** 2
    imgs = torch.randn(args.batch_size, 3, args.image_size, args.image_size)
    times = []
    for _ in range(args.steps + 2):
        start = time.perf_counter()
        noise = torch.rand(args.batch_size, patches)
        optimizer.zero_grad(set_to_none=True)
        loss = step_model(imgs, noise)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    print(json.dumps({
        "step_s": statistics.median(times[2:]),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "blas": [line.strip() for line in torch.__config__.show().splitlines()
                 if "BLAS" in line or "MKL" in line][:1],
    }))


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_tiny")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--python", default="/usr/bin/python3", help="a python that has torch")
    parser.add_argument("--tessera", default=os.path.join(HERE, "..", "..", "tessera"))
    parser.add_argument("--pytorch-side", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pytorch_side:
        pytorch_side(args)
        return
    shared = ["--arch", args.arch, "--image-size", str(args.image_size), "--patch-size",
              str(args.patch_size), "--batch-size", str(args.batch_size), "--steps",
              str(args.steps), "--threads", str(args.threads)]
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(run_json([args.tessera, "bench", "step", "--model", "mae", "--json"] + shared))
        theirs.append(run_json([args.python, os.path.abspath(__file__), "--pytorch-side",
                                "--mode", args.mode] + shared))
    a = statistics.median(r["step_s"] for r in ours)
    b = statistics.median(r["step_s"] for r in theirs)
    memory_a = max(r["peak_rss_mb"] for r in ours)
    memory_b = max(r["peak_rss_mb"] for r in theirs)
    print(f"{args.arch}, {args.image_size} px, patch {args.patch_size}, batch {args.batch_size}, "
          f"f32, {args.threads} threads, {args.rounds} rounds of {args.steps} steps in turn")
    print(f"  tessera  {a:8.3f} s  {args.batch_size / a:8.1f} images/s  {memory_a:7.0f} MB  "
          f"{100 * ours[0]['utilisation']:.0f} % of the product peak")
    print(f"  pytorch  {b:8.3f} s  {args.batch_size / b:8.1f} images/s  {memory_b:7.0f} MB  "
          f"{theirs[0]['version']} {args.mode}, {theirs[0]['threads']} threads, "
          f"{' '.join(theirs[0]['blas'])}")
    print(f"  ratio    {b / a:8.2f} x")


if __name__ == "__main__":
    main()
