#!/usr/bin/env python3
"""Times a whole training step of MAE or BEiT, ours and PyTorch's in turn, and prints the ratios of
medians.

    tools/compare/pytorch_step.py --arch vit_tiny --image-size 32 --patch-size 4 --batch-size 128
    tools/compare/pytorch_step.py --arch vit_base --image-size 224 --patch-size 16 --batch-size 8 \\
        --python /usr/bin/python3 --python venv/bin/python --precision f32,bf16
    tools/compare/pytorch_step.py --model beit --arch vit_tiny --batch-size 64
    tools/compare/pytorch_step.py --model beit --arch vit_tiny --tokenizer runs/tokenizer
    tools/compare/pytorch_step.py --device cuda --tessera bin/tessera_cuda --arch vit_base \
        --image-size 224 --patch-size 16 --batch-size 256 --precision bf16

Both do forward, backward, gradient norm and AdamW on pictures that are in memory already; bf16 is
autocast over f32 weights on both sides. On a GPU theirs has its fused attention and fused AdamW,
ours its graph; memory is what tensors take on the card at most; and a step is heard of when the
next one is queued, all of them timed between two events of the card. Every contestant is a process
of its own: ours (./tessera bench step), and for each --python, precision and mode one of PyTorch's.
They run one after another in rounds, every second round backwards, so that whoever else uses the
machine hits all alike. A contestant that cannot run (a version without torch.compile, say) is named
with its reason. Needs pythons with torch: Debian's python3-torch with libopenblas0-openmp, or
PyPI's."""

import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WARM_UP = 3  # steps that do not count: allocations, and what torch.compile compiles
WARM_UP_SECONDS = 3  # of steps on a GPU, whose clocks rise and fall with the work; as ours


# ---- PyTorch's side, in a child ----

def libraries(torch):
    """Who multiplies: what torch says it was built with, and the BLAS that the process mapped."""
    said = re.findall(r"(oneAPI Math Kernel Library Version \S+|MKL-DNN v\S+)",
                      torch.__config__.show())
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        mapped = {line.split()[-1] for line in maps
                  if re.search(r"/lib(openblas|blis|mkl)", line)}
    names = [text.replace("Math Kernel Library Version", "MKL").replace("MKL-DNN", "oneDNN")
             for text in said]
    for path in sorted(mapped):
        names.append(os.path.basename(path))
        if "openblas" in path:
            core = ctypes.CDLL(path).openblas_get_corename
            core.restype = ctypes.c_char_p
            names[-1] += f" ({core().decode()})"
    return ", ".join(names)


def megabytes(field):
    """VmRSS or VmHWM of this process."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(field + r":\s+(\d+) kB", status.read())[1]) / 1024


def reset_peak_memory():
    """From now on VmHWM is the peak of what follows: what compiling took does not count."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def make_optimizer(torch, model):
    """AdamW as MAE sets it, fused where this version can on a CPU: (optimizer, its kind)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
              {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]
    settings = {"lr": 1e-4, "betas": (0.9, 0.95)}
    try:
        return torch.optim.AdamW(groups, fused=True, **settings), "fused AdamW"
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(groups, **settings), "plain AdamW"


def gradient_norm(torch, parameters):
    """Of all of them, by one kernel for many tensors where this version has it: as in training."""
    gradients = [p.grad for p in parameters]
    if hasattr(torch, "_foreach_norm"):
        return torch.stack(torch._foreach_norm(gradients)).norm()
    return torch.stack([g.norm() for g in gradients]).norm()


def timed_on_cpu(torch, step, steps):
    """(median seconds of a step, seconds of the first, [loss, norm] of the last)."""
    times = []
    for i in range(WARM_UP + steps):
        if i == WARM_UP:
            reset_peak_memory()
        start = time.perf_counter()
        heard = [value.item() for value in step()]
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:]), times[0], heard


def timed_on_gpu(torch, step, steps):
    """The same, with the mean of all steps. Each is heard of when the next one is queued, through
    pinned memory: item() would wait for that one too."""
    places = [torch.empty(2, pin_memory=True) for _ in range(2)]

    def run(go_on):
        """Steps while go_on(their number): what is still to be heard of the last."""
        count, pending = 0, None
        while go_on(count):
            place, done = places[count % 2], torch.cuda.Event()
            place.copy_(torch.stack([value.float() for value in step()]), non_blocking=True)
            done.record()
            if pending:
                pending[1].synchronize()
            pending, count = (place, done), count + 1
        return pending

    start = time.perf_counter()
    run(lambda count: count < 1)[1].synchronize()
    first = time.perf_counter() - start
    start = time.perf_counter()
    run(lambda count: count < WARM_UP or time.perf_counter() - start < WARM_UP_SECONDS)
    torch.cuda.reset_peak_memory_stats()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    place, _ = run(lambda count: count < steps)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / steps, first, place.tolist()


def tokenizer_sizes(path):
    """(layers, width, vocabulary) of a dvae that `tessera tokenizer train` has saved: a checkpoint
    or its run's folder."""
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
        path = os.path.join(path, names[-1])
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    recipe = json.loads(header["__metadata__"]["recipe"])
    if recipe["arch"] != "dvae":
        sys.exit(f"{path}: a tokenizer of the kind {recipe['arch']}; only dvae is compared")
    return recipe["layers"], recipe["width"], recipe["vocab"]


def pytorch_side(args):
    import contextlib
    import importlib
    try:
        import torch
    except ImportError as error:
        sys.exit(f"{sys.executable} has no torch ({error})")
    sys.path.insert(0, HERE)
    if args.mode == "compile" and not hasattr(torch, "compile"):
        sys.exit(f"torch {torch.__version__} has no torch.compile")

    cuda = args.device == "cuda"
    if cuda and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no GPU")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    imported = megabytes("VmRSS")
    models = importlib.import_module(f"pytorch_{args.model}")
    extra = {"tokenizer": tokenizer_sizes(args.tokenizer)} if args.tokenizer else {}
    if args.vocab:
        extra["vocabulary"] = args.vocab
    model = models.preset(args.arch, args.image_size, args.patch_size, **extra).to(args.device)
    optimizer, kind = make_optimizer(torch, model)
    trained = [p for p in model.parameters() if p.requires_grad]
    run = torch.compile(model) if args.mode == "compile" else model
    patches = (args.image_size // args.patch_size) ** 2
    imgs = torch.randn(args.batch_size, 3, args.image_size, args.image_size, device=args.device)

    def step():
        """Queues a step: its loss and the norm of its gradients, on the device."""
        noise = torch.rand(args.batch_size, patches, device=args.device)
        optimizer.zero_grad(set_to_none=True)
        low = args.precision == "bf16"
        with torch.autocast(args.device, dtype=torch.bfloat16) if low else contextlib.nullcontext():
            loss = run(imgs, noise)
        loss.backward()
        norm = gradient_norm(torch, trained)
        optimizer.step()
        return loss.detach(), norm

    timed = timed_on_gpu if cuda else timed_on_cpu
    seconds, first, (loss, norm) = timed(torch, step, args.steps)
    print(json.dumps({
        "step_s": seconds,
        "first_step_s": first,
        "loss": loss,
        "gradient_norm": norm,
        "memory_mb": torch.cuda.max_memory_allocated() / 2**20 if cuda else megabytes("VmHWM"),
        "imported_mb": imported,
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "optimizer": kind,
        "blas": torch.cuda.get_device_name() if cuda else libraries(torch),
    }))


# ---- The contest ----

def openblas_kernels():
    """The kernels OpenBLAS should take. By itself a release takes SSE kernels on any processor that
    is newer: 65 instead of 310 GFLOP/s for 0.3.21 on two cores of an Emerald Rapids."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        flags = cpuinfo.read().split()
    return ("Cooperlake" if "avx512_bf16" in flags else
            "SkylakeX" if "avx512vl" in flags else "Haswell")


class Contestant:
    def __init__(self, name, precision, command):
        self.name, self.precision, self.command = name, precision, command
        self.rounds, self.trouble = [], ""

    def run(self, environment):
        if self.trouble:
            return
        try:
            done = subprocess.run(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, env=environment, check=False)
            if done.returncode == 0:
                self.rounds.append(json.loads(done.stdout.strip().splitlines()[-1]))
                if "memory_mb" not in self.rounds[-1]:  # ours names both
                    kind = "tensor_peak_mb" if "cuda" in self.command else "peak_rss_mb"
                    self.rounds[-1]["memory_mb"] = self.rounds[-1][kind]
            else:
                said = (done.stderr.strip() or "said nothing").splitlines()[-1]
                self.trouble = f"{said} (exit {done.returncode})"
        except (OSError, ValueError, IndexError) as error:
            self.trouble = str(error)

    def step(self):
        return statistics.median(r["step_s"] for r in self.rounds)

    def result(self, args, ours):
        if self.trouble:
            return {"name": self.name, "precision": self.precision, "trouble": self.trouble}
        steps = [r["step_s"] for r in self.rounds]
        result = dict(self.rounds[0], name=self.name, precision=self.precision, step_s=self.step(),
                      step_s_range=[min(steps), max(steps)],
                      images_per_s=args.batch_size / self.step(),
                      memory_mb=max(r["memory_mb"] for r in self.rounds))
        if "utilisation" in result:
            result["utilisation"] = statistics.median(r["utilisation"] for r in self.rounds)
        if ours is not self and not ours.trouble:
            result["ratio"] = self.step() / ours.step()
        return result


def contestants(args):
    """For each precision ours first, then every python and mode."""
    shared = ["--model", args.model, "--arch", args.arch, "--image-size", str(args.image_size),
              "--patch-size", str(args.patch_size), "--batch-size", str(args.batch_size), "--steps",
              str(args.steps), "--threads", str(args.threads), "--device", args.device]
    if args.tokenizer:
        shared += ["--tokenizer", args.tokenizer]
    if args.vocab:
        shared += ["--vocab", str(args.vocab)]
    found = []
    for precision in args.precision:
        ours = [args.tessera, "bench", "step", "--json"] + shared
        if precision != "f32":
            ours += ["--precision", precision]
        found.append(Contestant("tessera", precision, ours))
        for python in args.python:
            for mode in args.mode:
                found.append(Contestant(f"{python} {mode}", precision, [
                    python, os.path.abspath(__file__), "--pytorch-side", "--mode", mode,
                    "--precision", precision] + shared))
    return found


def line_of(result):
    name = result["name"]
    if "version" in result:
        name = f"torch {result['version']} {name.split()[-1]}"
    if "trouble" in result:
        return f"  {name:32} not measured: {result['trouble']}"
    low, high = result["step_s_range"]
    line = (f"  {name:32} {result['step_s']:8.3f} s ({low:.3f}-{high:.3f}) "
            f"{result['images_per_s']:8.2f} images/s {result['memory_mb']:7.0f} MB")
    if "ratio" in result:
        line += f"   tessera is {result['ratio']:.2f} x as fast"
    if "utilisation" in result:
        line += f"   {100 * result['utilisation']:.0f} % of the product peak"
    return line


def report(args, results):
    model = f"{args.model} with its tokenizer" if args.tokenizer else args.model
    print(f"{model} {args.arch}, {args.image_size} px, patch {args.patch_size}, batch "
          f"{args.batch_size}, {args.threads} threads, median (range) of {args.rounds} rounds of "
          f"{args.steps} steps in turn")
    for precision in args.precision:
        print(precision)
        rows = [r for r in results if r["precision"] == precision]
        for row in rows:
            print(line_of(row))
        rivals = [r for r in rows if "ratio" in r]
        if rivals:
            best = min(rivals, key=lambda r: r["ratio"])
            print(f"  against the fastest of them: {best['ratio']:.2f} x the speed, "
                  f"{rows[0]['memory_mb'] / best['memory_mb']:.2f} x its memory")
    for said in sorted({f"torch {r['version']}: {r['threads']} threads, {r['optimizer']}, "
                        f"{r['blas']}; {r['imported_mb']:.0f} MB after import"
                        for r in results if "blas" in r}):
        print(said)


def words(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mae", choices=["mae", "beit"])
    parser.add_argument("--tokenizer", metavar="PATH",
                        help="beit: this dvae of ours, or one of its sizes, runs in every step "
                             "[default: tokens are at hand, as from a cache]")
    parser.add_argument("--vocab", type=int, metavar="N",
                        help="beit: tokens at hand are of so many [default: 8192]")
    parser.add_argument("--arch", default="vit_tiny", help="vit_tiny ... vit_large")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", type=words, default=["f32", "bf16"], metavar="LIST",
                        help="f32, bf16 or both with a comma [default: both]")
    parser.add_argument("--mode", type=words, default=["eager", "compile"], metavar="LIST",
                        help="eager, compile or both with a comma [default: both]")
    parser.add_argument("--python", action="append", metavar="PATH",
                        help="a python that has torch; may be given several times "
                             "[default: /usr/bin/python3]")
    parser.add_argument("--tessera", default=os.path.join(HERE, "..", "..", "tessera"),
                        metavar="PATH", help="our program [default: this clone's]")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument("--pytorch-side", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name, known in ("precision", {"f32", "bf16"}), ("mode", {"eager", "compile"}):
        if not set(getattr(args, name)) <= known:
            parser.error(f"--{name}: it is {' or '.join(sorted(known))}")
    if (args.tokenizer or args.vocab) and args.model != "beit":
        parser.error("--tokenizer and --vocab are for --model beit")
    for name in ("batch_size", "steps", "rounds", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.pytorch_side:
        args.precision, args.mode = args.precision[0], args.mode[0]
        pytorch_side(args)
        return
    args.python = args.python or ["/usr/bin/python3"]
    threads = {name: str(args.threads)
               for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = dict({"OPENBLAS_CORETYPE": openblas_kernels()}, **os.environ) | threads
    field = contestants(args)
    for number in range(args.rounds):
        for contestant in field if number % 2 == 0 else reversed(field):
            contestant.run(environment)
    ours = {c.precision: c for c in field if c.name == "tessera"}
    results = [c.result(args, ours[c.precision]) for c in field]
    if args.json:
        print(json.dumps({"model": args.model, "arch": args.arch, "image_size": args.image_size,
                          "patch_size": args.patch_size, "batch_size": args.batch_size,
                          "threads": args.threads, "rounds": args.rounds, "steps": args.steps,
                          "contestants": results}))
    else:
        report(args, results)
    if all(c.trouble for c in field):
        sys.exit("pytorch_step.py: nothing could be measured")


if __name__ == "__main__":
    main()
