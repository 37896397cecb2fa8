#!/usr/bin/env python3
"""Writes the files beside it, as torch.save() writes them (PyTorch 2; the tests need none).

    cd tests/train/torch_files && ./make.py

Each weight holds ((7 i + length of its name) mod 13 - 6) / 8, so that a test can tell what belongs
where. The classes only bear the names of the published ones; reading must not need them."""

import sys
import types
from collections import OrderedDict
from functools import partial

import torch
from torch import nn


def pattern(name, *shape):
    i = torch.arange(torch.Size(shape).numel())
    return (((7 * i + len(name)) % 13 - 6) / 8).reshape(shape)


def published(name, module):
    """A module of any tensors and children, of a class that a reader does not have."""
    cls = type(name, (nn.Module,), {"__module__": module})
    for path in module.split(".")[0], module:
        sys.modules.setdefault(path, types.ModuleType(path))
    setattr(sys.modules[module], name, cls)
    return cls


def tree(tensors, root_class, part_class):
    root = root_class()
    # What lies about in a module. No class that has a source file: the older form would copy its text.
    root.device, root.act = torch.device("cpu"), partial(max, 0)
    for name, value in tensors.items():
        *path, last = name.split(".")
        node = root
        for step in path:
            if step not in node._modules:
                node.add_module(step, part_class())
            node = node._modules[step]
        node.register_parameter(last, nn.Parameter(value))
    return root


def dalle(encoder, width=4, vocab=6, channels=3, decoder_width=4, groups=4):
    """One half of DALL-E's tokenizer with one block a group."""
    sizes = {}
    first = (channels, width, 7) if encoder else (vocab, decoder_width, 1)
    kernels = (3, 3, 3, 1) if encoder else (1, 3, 3, 3)

    def conv(name, inputs, outputs, kernel):
        sizes[name + ".w"] = (outputs, inputs, kernel, kernel)
        sizes[name + ".b"] = (outputs,)

    conv("blocks.input", *first)
    inputs = first[1]
    for g in range(groups):
        outputs = width << (g if encoder else groups - 1 - g)
        block = f"blocks.group_{g + 1}.block_1"
        if inputs != outputs:
            conv(block + ".id_path", inputs, outputs, 1)
        for i, kernel in enumerate(kernels):
            conv(f"{block}.res_path.conv_{i + 1}", inputs if i == 0 else outputs // 4,
                 outputs if i == 3 else outputs // 4, kernel)
        inputs = outputs
    conv("blocks.output.conv", inputs, vocab if encoder else 2 * channels, 1)
    return {name: pattern(name, *shape) for name, shape in sizes.items()}


def main():
    conv = published("Conv2d", "dall_e.utils")
    encoder = tree(dalle(True), published("Encoder", "dall_e.encoder"), conv)
    decoder = tree(dalle(False), published("Decoder", "dall_e.decoder"), conv)
    torch.save(encoder, "encoder.pkl")
    torch.save(decoder, "decoder.pkl", _use_new_zipfile_serialization=False)

    whole = pattern("whole", 4, 6)
    mixed = OrderedDict([
        ("turned", pattern("turned", 3, 2).t()), ("half", pattern("half", 5).half()),
        ("bfloat", pattern("bfloat", 5).bfloat16()), ("double", pattern("double", 5).double()),
        ("whole", whole), ("piece", whole[1:3, 2:5]), ("number", torch.tensor(7)),
        ("empty", torch.zeros(0, 3)), ("buffer.flags", torch.tensor([True, False]))])
    checkpoint = {"epoch": 300, "lr": 1.5e-4, "args": types.SimpleNamespace(blr=-1, name="x" * 300),
                  "model": mixed,
                  "optimizer": {"state": {i: {"exp_avg": torch.zeros(3 + i)} for i in range(20)}}}
    for protocol in (2, 4):
        torch.save(checkpoint, f"mixed_{protocol}.pth", pickle_protocol=protocol)
    # The older form holds storages in the order of their addresses: the optimizer's lie between.
    torch.save(checkpoint, "mixed_old.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
