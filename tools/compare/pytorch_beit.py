"""BEiT's pre-training model in PyTorch, written for comparison: the same layers, sizes and work as
ours (Bao et al., 2021): all patches enter, a relative position bias shared by all blocks, layer
scale, drop path, and the head on masked patches only. Nothing of the program needs it."""

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_mae import Mlp, PatchEmbed, patch_vectors, take_rows

DROP_PATH = 0.1   # of the last block
VOCABULARY = 8192


class RelativePositionBias(nn.Module):
    """A bias for every pair of tokens, one table for each head: (heads, 1 + L, 1 + L)."""

    def __init__(self, side, heads):
        super().__init__()
        distances = (2 * side - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances + 3, heads))
        row, column = (x.flatten() for x in torch.meshgrid(torch.arange(side), torch.arange(side),
                                                           indexing="ij"))
        index = torch.zeros(1 + side * side, 1 + side * side, dtype=torch.long)
        index[1:, 1:] = ((row[:, None] - row + side - 1) * (2 * side - 1)
                         + column[:, None] - column + side - 1)
        index[0, :], index[:, 0], index[0, 0] = distances, distances + 1, distances + 2
        self.register_buffer("index", index, persistent=False)

    def forward(self):
        return self.relative_position_bias_table[self.index].permute(2, 0, 1).contiguous()


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, bias):
        b, n, d = x.shape
        qkv_bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, qkv_bias)
        q, k, v = qkv.reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if hasattr(F, "scaled_dot_product_attention"):
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        else:
            scores = (q @ k.transpose(-2, -1)) * (d // self.heads) ** -0.5 + bias
            out = scores.softmax(dim=-1).to(v.dtype) @ v
        return self.proj(out.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, dim, heads, layer_scale, drop):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)
        self.gamma_1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop = drop

    def drop_path(self, x):
        if self.drop == 0:
            return x
        keep = 1 - self.drop
        return x * (torch.rand(x.shape[0], 1, 1, device=x.device) < keep).to(x.dtype) / keep

    def forward(self, x, bias):
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x), bias))
        return x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(width, width, 1))

    def forward(self, x):
        return x + self.net(x)


class TokenizerEncoder(nn.Module):
    """The half of the discrete VAE that names tokens: pictures in [0, 1] -> ids (B, L)."""

    def __init__(self, layers, width, vocabulary):
        super().__init__()
        stages = []
        for i in range(layers):
            stages += [nn.Conv2d(width if i else 3, width, 4, stride=2, padding=1), nn.ReLU(),
                       Residual(width)]
        self.encoder = nn.Sequential(*stages, nn.Conv2d(width, vocabulary, 1))
        self.span = 2 ** layers

    @torch.no_grad()
    def forward(self, imgs):
        return self.encoder(imgs * 2 - 1).argmax(1).flatten(1)


class Beit(nn.Module):
    def __init__(self, image, patch, tokenizer, vocabulary, dim, depth, heads, layer_scale,
                 mask_ratio=0.385, drop_path=DROP_PATH):
        """`tokenizer` (layers, width, vocabulary): runs in every step; None: tokens are at hand.
        drop_path: of the last block."""
        super().__init__()
        self.patch = patch
        self.tokenizer = TokenizerEncoder(*tokenizer).requires_grad_(False) if tokenizer else None
        self.seen_side = image // patch * self.tokenizer.span if tokenizer else 0
        patches = (image // patch) ** 2
        self.target = int(patches * mask_ratio)  # 75 of 14 x 14
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.rel_pos_bias = RelativePositionBias(image // patch, heads)
        self.blocks = nn.ModuleList(
            Block(dim, heads, layer_scale, drop_path * i / max(depth - 1, 1)) for i in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.lm_head = nn.Linear(dim, tokenizer[2] if tokenizer else vocabulary)

    def loss(self, imgs, masked, labels):
        """Cross-entropy of the patches numbered masked (B, T), whose tokens are labels (B, T)."""
        b, length = imgs.shape[0], (imgs.shape[2] // self.patch) * (imgs.shape[3] // self.patch)
        mask = torch.zeros(b, length, dtype=torch.bool, device=masked.device).scatter(1, masked, True)
        x = self.patch_embed(patch_vectors(imgs, self.patch))
        x = torch.where(mask[:, :, None], self.mask_token.to(x.dtype), x)
        x = torch.cat([self.cls_token.to(x.dtype).expand(b, -1, -1), x], 1)
        bias = self.rel_pos_bias()
        for block in self.blocks:
            x = block(x, bias)
        logits = self.lm_head(self.norm(take_rows(x, masked + 1)))
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    def forward(self, imgs, noise):
        """The loss of patches masked at random, with tokens that are all 0 where no tokenizer says
        otherwise. noise (B, L): the smallest are masked."""
        masked = noise.argsort(1)[:, :self.target]
        if self.tokenizer is None:
            return self.loss(imgs, masked, torch.zeros_like(masked))
        with torch.autocast(imgs.device.type, enabled=False):  # in f32, as ours
            seen = torch.rand(imgs.shape[0], 3, self.seen_side, self.seen_side, device=imgs.device)
            labels = self.tokenizer(seen).gather(1, masked)
        return self.loss(imgs, masked, labels)


PRESETS = {  # dim, depth, heads, layer scale
    "vit_tiny": (192, 12, 3, 0.1),
    "vit_small": (384, 12, 6, 0.1),
    "vit_base": (768, 12, 12, 0.1),
    "vit_large": (1024, 24, 16, 1e-5),
}


def preset(arch, image, patch, tokenizer=None, vocabulary=VOCABULARY, **more):
    return Beit(image, patch, tokenizer, vocabulary, *PRESETS[arch], **more)
