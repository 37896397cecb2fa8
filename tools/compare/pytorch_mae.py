"""The masked autoencoder in PyTorch, written for comparison: the same layers, the same sizes, the
same state-dict names as ours (He et al., 2021), and the same work: only visible patches are
embedded, only removed ones predicted. Nothing of the program needs it."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if hasattr(F, "scaled_dot_product_attention"):
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q @ k.transpose(-2, -1)) * (d // self.heads) ** -0.5
            out = scores.softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """The projection of patches that are cut out already, with a convolution's weight."""

    def __init__(self, patch, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, vectors):  # (B, K, C p p)
        return F.linear(vectors, self.proj.weight.flatten(1), self.proj.bias)


def take_rows(x, ids):
    """Rows of x (B, L, D) named by ids (B, K)."""
    return x.gather(1, ids[:, :, None].expand(-1, -1, x.shape[2]))


def patch_grid(imgs, p):
    b, c, h, w = imgs.shape
    return imgs.reshape(b, c, h // p, p, w // p, p)


def patch_vectors(imgs, p):  # in the order of a convolution's weight: C, p, p
    return patch_grid(imgs, p).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def patchify(imgs, p):  # in the order of the prediction: p, p, C
    return patch_grid(imgs, p).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class Mae(nn.Module):
    def __init__(self, image, patch, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads,
                 mask_ratio=0.75):
        super().__init__()
        self.patch, self.mask_ratio = patch, mask_ratio
        patches = (image // patch) ** 2
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, patches + 1, dim) * 0.02, requires_grad=False)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, decoder_dim) * 0.02)
        self.decoder_pos_embed = nn.Parameter(torch.randn(1, patches + 1, decoder_dim) * 0.02,
                                              requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(decoder_dim, decoder_heads)
                                            for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_dim, patch * patch * 3)

    def forward(self, imgs, noise):
        """The loss: mean square error over the removed patches. noise (B, L): the smallest stay."""
        b, length = noise.shape
        kept = int(length * (1 - self.mask_ratio))
        shuffle = noise.argsort(1)
        restore = shuffle.argsort(1)
        ids_keep, ids_removed = shuffle[:, :kept], shuffle[:, kept:]

        x = self.patch_embed(take_rows(patch_vectors(imgs, self.patch), ids_keep))
        x = x + self.pos_embed[0, 1:][ids_keep]
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(b, -1, -1).to(x.dtype), x], 1)
        for block in self.blocks:
            x = block(x)

        # [class, visible, one mask token]: every removed place gathers the same row.
        x = self.decoder_embed(self.norm(x))
        rows = torch.cat([x, self.mask_token.to(x.dtype).expand(b, -1, -1)], 1)
        places = torch.cat([restore.new_zeros(b, 1), restore.clamp(max=kept) + 1], 1)
        x = take_rows(rows, places) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        pred = self.decoder_pred(self.decoder_norm(take_rows(x, ids_removed + 1)))
        return F.mse_loss(pred.float(), take_rows(patchify(imgs, self.patch), ids_removed))


PRESETS = {  # dim, depth, heads, decoder dim, depth, heads
    "vit_tiny": (192, 12, 3, 96, 4, 3),
    "vit_small": (384, 12, 6, 256, 4, 8),
    "vit_base": (768, 12, 12, 512, 8, 16),
    "vit_large": (1024, 24, 16, 512, 8, 16),
}


def preset(arch, image, patch):
    return Mae(image, patch, *PRESETS[arch])
