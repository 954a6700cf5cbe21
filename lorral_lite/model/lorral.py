"""LoRRaL: patch learning → global, landmark and local AU features → AU relation → AU and landmark heads.

Source: paper section 3, Figure 2. Every size is ours unless said otherwise; DEVIATIONS.md numbers them.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..facs import AU_SETS, check_aus
from ..files import made_of
from ..landmarks import NUM_LANDMARKS
from .au_crops import AUCrops
from .feat_conv import FeatConv
from .patch_conv import PatchConv
from .relations import RELATIONS

LANDMARK_UNIT = 0.1
"""The landmark head counts in tenths of the image: in whole images its loss is so steep that lr 0.01 diverges (D33)."""


@dataclass(frozen=True)
class LoRRaLConfig:
    """Everything that fixes the architecture. Start from :meth:`paper` or :meth:`lite`; both accept any field.

    ``image_size`` is cut out of aligned faces of ``frame_size`` pixels. ``relation_options`` go to the relation's
    class, for example ``{"steps": 3, "beta": 1.0}``. The last seven read the paper where it is silent.
    """

    aus: tuple[int, ...] = AU_SETS["bp4d"]
    relation: str | None = None
    relation_options: dict | None = None
    name: str = "paper"
    image_size: int = 176  # D3 input size and views
    frame_size: int = 200
    patch_channels: tuple[int, ...] = (32, 64)  # D4 PatchConv parts
    patch_grids: tuple[int, ...] = (8, 8)  # D4 PatchConv parts
    feat_channels: tuple[int, ...] = (96, 128, 160)  # D5 FeatConv widths
    local_channels: tuple[int, ...] = (96, 128, 160)  # D5 FeatConv widths, per AU (D8)
    crop_size: int = 8  # D7 crop windows
    landmark_hidden: int = 512  # D6 landmark head
    head_hidden: int = 512  # D13 concatenation
    dropout: float = 0.2  # D30 dropout
    mean_head: bool = False  # D13 concatenation: the AU head reads the mean over the AUs, as in JAA-Net
    detached_head: bool = False  # D23 gradient of the AU head: none into the tokens, as in JAA-Net
    local_before: bool = False  # D15 place of the local loss: before the relation
    kept_heads: bool = False  # D17 new heads: step 2 goes on with those of step 1
    patch_identity: bool = False  # D4 PatchConv parts: the map is added to what its parts make of it
    patch_halo: bool = False  # D4 PatchConv parts: each sees one pixel of its neighbours, no zeros
    bilstm_residual: bool = False  # D9 BiLSTM: the token is added to what it gives, also where it stands in series

    def __post_init__(self) -> None:
        for field in fields(self):  # JSON has lists where we have tuples
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        object.__setattr__(self, "aus", check_aus(self.aus))
        object.__setattr__(self, "relation", self.relation or "none")
        if self.relation not in RELATIONS:
            raise ValueError(f"unknown relation {self.relation!r}: choose from {', '.join(RELATIONS)}")
        if not self.aus:
            raise ValueError("a model needs at least one action unit")
        if self.local_before and self.detached_head:
            raise ValueError("local_before and detached_head together leave the relation without any gradient")
        if len(self.patch_channels) != len(self.patch_grids):
            raise ValueError(f"{len(self.patch_channels)} PatchConvs but {len(self.patch_grids)} grids")
        side = self.image_size
        for grid in self.patch_grids:
            if side % grid or side % 2:
                raise ValueError(
                    f"image_size {self.image_size}: a map of {side}×{side} cannot be cut into {grid}×{grid} equal "
                    "parts and halved; paper() uses 176 with grids 8 and 8, lite() 88 with 8 and 4"
                )
            side //= 2
        if side >> len(self.feat_channels) < 1 or self.crop_size >> len(self.local_channels) != 1:
            raise ValueError(
                f"{len(self.feat_channels)} FeatConvs must shrink the map of {side} cells to 1 or more, and "
                f"{len(self.local_channels)} the crops of {self.crop_size} cells to exactly 1"
            )

    @classmethod
    def paper(cls, aus=AU_SETS["bp4d"], relation: str | None = None, **fields) -> "LoRRaLConfig":
        """The paper's model as far as it is known: 176 of 200 pixels, features 64×44×44 and 160×5×5."""
        return cls(aus=tuple(aus), relation=relation, **fields)

    @classmethod
    def lite(cls, aus=AU_SETS["bp4d"], relation: str | None = None, **fields) -> "LoRRaLConfig":
        """The same in small, for two CPU cores: 88 of 100 pixels, features 32×22×22 and 24×5×5 (D3, D4, D31)."""
        small = {
            "name": "lite", "image_size": 88, "frame_size": 100, "patch_channels": (8, 32), "patch_grids": (8, 4),
            "feat_channels": (24, 24), "local_channels": (16, 24), "crop_size": 6,
            "landmark_hidden": 96, "head_hidden": 96,
        }  # fmt: skip
        return cls(aus=tuple(aus), relation=relation, **{**small, **fields})

    def to_dict(self) -> dict:
        """A dict of numbers, strings and lists that JSON can hold; other readings only where they are taken."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()
                if v or k not in READINGS}

    @classmethod
    def from_dict(cls, values: dict) -> "LoRRaLConfig":
        """The inverse of :meth:`to_dict`; ValueError names a field that does not exist."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"unknown model field {name!r}: choose from {', '.join(known)}")
        return made_of(cls, values, 4096)


READINGS = ("mean_head", "detached_head", "local_before", "kept_heads", "patch_identity", "patch_halo",
            "bilstm_residual")
"""The fields that read the paper otherwise than we do."""


class Features(NamedTuple):
    """What step 2 starts from: local (B, A, D), global_ (B, G), landmark (B, G), landmarks (B, 49, 2) in pixels."""

    local: Tensor
    global_: Tensor
    landmark: Tensor
    landmarks: Tensor


class Output(NamedTuple):
    """au_logits (B, A) and local_au_logits (B, A), landmarks (B, 49, 2) in pixels of the model's input."""

    au_logits: Tensor
    local_au_logits: Tensor
    landmarks: Tensor


class LocalHead(nn.Module):
    """One logit per AU from its own token, with its own weights: (B, A, D) → (B, A)."""

    def __init__(self, dim: int, num_aus: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_aus, dim).uniform_(-(dim**-0.5), dim**-0.5))
        self.bias = nn.Parameter(torch.zeros(num_aus))

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens * self.weight).sum(-1) + self.bias


class LoRRaL(nn.Module):
    """Facial action units and landmarks of aligned faces.

    Shape: images (B, 3, s, s) with s = ``config.image_size``, scaled to (x − 0.5) / 0.5 → :class:`Output`. Given
    ``landmarks`` (B, 49, 2) in pixels of the input, the local features are cropped there, else at the predicted ones.
    """

    def __init__(self, config: LoRRaLConfig) -> None:
        super().__init__()
        self.config = c = config
        self.frozen: tuple[str, ...] = ()
        self.patch = nn.Sequential()
        channels, side = 3, c.image_size
        for width, grid in zip(c.patch_channels, c.patch_grids, strict=True):
            self.patch.extend([PatchConv(channels, width, grid, c.patch_identity, c.patch_halo), nn.MaxPool2d(2)])
            channels, side = width, side // 2
        self.global_ = nn.Sequential(*feat_stack(channels, c.feat_channels), nn.Flatten())
        self.landmark = nn.Sequential(*feat_stack(channels, c.feat_channels), nn.Flatten())  # D27 own stacks
        self.side = side >> len(c.feat_channels)
        flat = c.feat_channels[-1] * self.side**2
        self.landmark_head = nn.Sequential(
            nn.Linear(flat, c.landmark_hidden), nn.Linear(c.landmark_hidden, 2 * NUM_LANDMARKS)
        )
        nn.init.normal_(self.landmark_head[-1].weight, std=1e-3)  # D6 landmark head: the first guess is the mean shape
        nn.init.zeros_(self.landmark_head[-1].bias)
        self.register_buffer("mean_shape", torch.full((NUM_LANDMARKS, 2), 0.5))
        self.crops = AUCrops(c.aus, c.crop_size)
        self.local = nn.Sequential(*feat_stack(2 * channels, c.local_channels, len(c.aus)))
        self.flat = flat
        self.make_heads()

    def make_heads(self) -> None:
        """New AU heads, then a new relation between them."""
        c, num_aus, dim = self.config, len(self.config.aus), self.config.local_channels[-1]
        read = dim if c.mean_head else num_aus * dim  # D13 concatenation
        self.local_head = LocalHead(dim, num_aus)
        self.au_head = nn.Sequential(
            nn.Linear(read + 2 * self.flat, c.head_hidden), nn.PReLU(c.head_hidden), nn.Dropout(c.dropout),
            nn.Linear(c.head_hidden, num_aus),
        )  # fmt: skip
        own = {"residual": True} if c.bilstm_residual and c.relation in ("bilstm", "series") else {}  # D9 BiLSTM
        self.relation = RELATIONS[c.relation](dim, num_aus, **{**own, **(c.relation_options or {})})

    def set_mean_shape(self, points) -> None:
        """Where the landmark head starts: (49, 2) pixels of the model's input, the mean of the training set (D6)."""
        points = torch.as_tensor(points, dtype=self.mean_shape.dtype, device=self.mean_shape.device)
        if points.shape != self.mean_shape.shape or not points.isfinite().all():
            raise ValueError(f"the mean shape must be finite and of shape (49, 2), got {tuple(points.shape)}")
        self.mean_shape.copy_((points + 0.5) / self.config.image_size)

    def features(self, images: Tensor, landmarks: Tensor | None = None) -> Features:
        """Everything before the relation: the shared map, the three feature branches, the landmarks."""
        s, b = self.config.image_size, images.shape[0]
        if images.shape[1:] != (3, s, s):
            raise ValueError(f"images must be (B, 3, {s}, {s}), got {tuple(images.shape)}")
        shared = self.patch(images)
        landmark = self.landmark(shared)
        offset = self.landmark_head(landmark).unflatten(-1, (NUM_LANDMARKS, 2))
        predicted = (self.mean_shape + LANDMARK_UNIT * offset) * s - 0.5  # shares of the image → pixels
        crops = self.crops(shared, predicted if landmarks is None else landmarks, s)  # D16 landmarks of the crops
        local = self.local(crops.reshape(b, -1, *crops.shape[-2:]))  # both windows on channels (D7), (B, A·D, 1, 1)
        return Features(local.reshape(b, len(self.config.aus), -1), self.global_(shared), landmark, predicted)

    def from_features(self, features: Features) -> Output:
        """Relation and heads: all that step 2 trains, apart from the landmarks."""
        c = self.config
        tokens = self.relation(features.local)
        read = tokens.detach() if c.detached_head else tokens  # D23 gradient of the AU head
        read = read.mean(1) if c.mean_head else read.flatten(1)  # D13 concatenation
        together = torch.cat([read, features.global_, features.landmark], dim=1)
        local = features.local if c.local_before else tokens  # D15 place of the local loss
        return Output(self.au_head(together), self.local_head(local), features.landmarks)

    def forward(self, images: Tensor, landmarks: Tensor | None = None) -> Output:
        return self.from_features(self.features(images, landmarks))

    def set_relation(self, name: str | None, seed: int, **options) -> None:
        """Put a new relation in and start both AU heads anew (D17): equal seeds give equal heads to all relations."""
        like, heads = self.mean_shape, (self.local_head, self.au_head)
        self.config = replace(self.config, relation=name, relation_options=options or None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.make_heads()
        if self.config.kept_heads:
            self.local_head, self.au_head = heads
        for part in (self.local_head, self.au_head, self.relation):
            part.to(like.device, like.dtype).train(self.training)

    def freeze_step1(self, train_landmarks: bool) -> None:
        """Step 2 of section 3.5: patch, global and local modules keep their weights and their BatchNorm statistics.

        ``train_landmarks=False`` freezes the landmark module too, so that features can be kept (D18).
        """
        self.frozen = ("patch", "global_", "local") + (() if train_landmarks else ("landmark", "landmark_head"))
        for name in self.frozen:
            self.get_submodule(name).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "LoRRaL":
        """As usual, but frozen parts stay in eval mode: else their BatchNorm statistics would go on moving."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def parameter_count(self) -> dict[str, int]:
        """Number of parameters of each part, and in total."""
        count = {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}
        return {**count, "total": sum(count.values())}

    def __repr__(self) -> str:
        c, side = self.config, self.config.image_size >> len(self.config.patch_channels)
        aus, local = len(c.aus), c.local_channels[-1]
        flat = f"{c.feat_channels[-1]}×{self.side}×{self.side}"
        shapes = {
            "patch": f"3×{c.image_size}×{c.image_size} → {c.patch_channels[-1]}×{side}×{side}",
            "global_": f"→ {flat}", "landmark": f"→ {flat}", "landmark_head": f"{self.flat} → {NUM_LANDMARKS}×2",
            "crops": f"→ {aus}×2×{c.patch_channels[-1]}×{c.crop_size}×{c.crop_size}", "local": f"→ {aus}×{local}",
            "relation": f"{aus}×{local} → {aus}×{local} ({c.relation})", "local_head": f"{aus}×{local} → {aus}",
            "au_head": f"{local if c.mean_head else aus * local} + 2·{self.flat} → {aus}",
        }  # fmt: skip
        count = self.parameter_count()
        rows = [f"  {name:<14}{shapes[name]:<40}{count[name]:>12,}" for name in shapes]
        title = f"LoRRaL {c.name}: AUs {', '.join(map(str, c.aus))}"
        title += "".join(f", {name}" for name in READINGS if getattr(c, name))
        return "\n".join([title, *rows, f"  {'total':<54}{count['total']:>12,} parameters"])


def feat_stack(channels: int, widths: tuple[int, ...], groups: int = 1) -> list[FeatConv]:
    """FeatConvs one after the other; channel counts are per group."""
    pairs = zip((channels, *widths), widths, strict=False)
    return [FeatConv(groups * before, groups * after, groups) for before, after in pairs]
