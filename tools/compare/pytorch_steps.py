#!/usr/bin/env python3
"""Takes the steps that record_steps wrote down, in PyTorch: the same weights, pictures, masks and
learning rates. Prints how far the two losses part, step by step and at the end.

    bazel build //tools/compare:record_steps
    bazel-bin/tools/compare/record_steps --data cifar10/train --out steps.safetensors
    tools/compare/pytorch_steps.py steps.safetensors

With --model beit of record_steps the model is BEiT's, and token ids are read too.
"""

import argparse
import json
import struct

import torch

import pytorch_beit
import pytorch_mae


def read(path):
    """All tensors of a safetensors file of f32, and its metadata."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4,
                                         offset=begin).reshape(entry["shape"])
    return tensors, metadata


def mae_loss(model, tensors, step):
    return model(tensors[f"images/{step:05}"], tensors[f"noise/{step:05}"])


def beit_loss(model, tensors, step):
    mask, tokens = tensors[f"mask/{step:05}"], tensors[f"tokens/{step:05}"].long()
    masked = mask.nonzero()[:, 1].reshape(mask.shape[0], -1)  # as many in every picture
    return model.loss(tensors[f"images/{step:05}"], masked, tokens.gather(1, masked))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    tensors, metadata = read(options.file)
    if metadata.get("model", "mae") == "beit":
        model, loss_of = pytorch_beit.preset(metadata["arch"], 32, 4, drop_path=0.0), beit_loss
    else:
        model, loss_of = pytorch_mae.preset(metadata["arch"], 32, 4), mae_loss
    weights = {name[len("weights/"):]: t for name, t in tensors.items() if name.startswith("weights/")}
    model.load_state_dict(weights)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
         {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}],
        lr=0.0, betas=(0.9, 0.95), eps=1e-8)
    ours, worst = tensors["losses"].tolist(), 0.0
    for step, rate in enumerate(tensors["learning_rates"].tolist()):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = loss_of(model, tensors, step)
        loss.backward()
        optimizer.step()
        part = abs(loss.item() - ours[step]) / loss.item()
        worst = max(worst, part)
        if step % 20 == 0 or step + 1 == len(ours):
            print(f"step {step:4}  PyTorch {loss.item():.6f}  tessera {ours[step]:.6f}  "
                  f"{100 * part:.4f} %", flush=True)
    print(f"PyTorch {torch.__version__} {options.precision}, tessera {metadata['precision']}: "
          f"largest difference {100 * worst:.4f} % over {len(ours)} steps")


if __name__ == "__main__":
    main()
