"""A²M²-Net: multi-scale second moments (M²), adaptively aligned (A²).

Gao, Wang, Zhang, Hu and Li, "A²M²-Net: Adaptively Aligned Multi-Scale Moment for Few-Shot Action
Recognition" (IJCV 2025). A reconstruction: no official code or weights are public;
``docs/explanation/method.md`` says what is known and what is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod, TrainingBatch
from a2m2_zoo.methods.blocks import (
    A2Config,
    A2Module,
    Candidates,
    Layout,
    M2Block,
    M2Config,
    join_layouts,
)
from a2m2_zoo.methods.blocks._config import (
    LARGEST_NUMBER,
    MOST_FRAMES,
    is_integer,
    is_number,
    short,
)
from a2m2_zoo.methods.blocks.a2 import RULES
from a2m2_zoo.ops.shots import class_prototypes
from a2m2_zoo.ops.vectors import unit_triangles
from a2m2_zoo.ops.windows import Cell
from a2m2_zoo.pose.kernel import joint_vectors, pose_presence, vector_pairs

_MOST_STAGES = 16
_UNRELATED = 0.2  # how alike the people of two clips of different actions move


@dataclass(frozen=True)
class A2M2Config:
    """The blocks of an A²M²-Net.

    Attributes:
        m2: Stage of the backbone → the M² block that reads its maps; equal ``dim`` everywhere.
        a2: The alignment.
        shots: Rule for several supports: ``ridge`` regression over the pair scores, their mean
            (``scores``), or one of A²'s own, ``descriptors`` or ``pooled``.
        pose: Weight of how alike the people of two clips move, beside the alignment's weights; 0 does not
            look for people.
        pool: Weight of the cosine between mean-pooled frame features, beside the alignment's weights.
        centring: How many supports it takes until half of their mean descriptor is subtracted from all
            descriptors: with N of them, N / (N + centring). What all supports share tells no class from
            another, and less of it was in the statistics the further the clips are from those. 0 is off.
        frames: Frames per clip (T).
        one_cell: In training, each batch describes one cell of every grid, drawn anew, and not all of them:
            for quarters as good in the end, in two thirds of the time.
    """

    m2: Mapping[str, M2Config]
    a2: A2Config
    shots: str = "ridge"
    pool: float = 0.0
    frames: int = 8
    centring: float = 0.0
    one_cell: bool = False
    pose: float = 0.0

    def __post_init__(self) -> None:
        _check(vars(self))

    @property
    def reads_people(self) -> bool:
        """Whether people are looked for."""
        return self.pose > 0

    def __repr__(self) -> str:
        blocks = (
            f"{stage}: {m2.channels} to {m2.dim}, scales {m2.scales}"
            for stage, m2 in self.m2.items()
        )
        rest = f"shots={self.shots}, pool={self.pool:g}, centring={self.centring:g}"
        rest += f", pose={self.pose:g}" if self.pose else ""
        return f"A2M2Config({'; '.join(blocks)}; {self.a2.alignment} by {self.a2.groups}; {rest})"

    def __hash__(self) -> int:
        return hash(
            (tuple(self.m2.items()), self.a2, self.shots, self.pool, self.centring, self.pose)
        )

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> A2M2Config:
        """The windows of the embedded models: every frame and every motion of the two deepest stages.

        Each is one candidate, of the whole picture and of its quarters. Projections are linear, which
        needs no training. Pose weighs as much as one of the groups.

        Raises:
            ArgumentError: The backbone has no maps.
        """
        if not backbone.stages:
            raise ArgumentError(
                f"{backbone.name} gives no maps and A2M2 reads maps; choose another backbone"
            )
        steps = min(2, frames - 1)
        m2 = {
            stage: M2Config(
                channels=channels,
                dim=32,
                grid=7,
                scales=(1, 1),
                cells=(1, 2),
                motion="branch" if steps else "none",
                motion_step=max(steps, 1),
                iterations=6,
                normaliser="frobenius",
            )
            for stage, channels in list(backbone.stages.items())[-2:]
        }
        a2 = A2Config(groups="window", power=2.0, time_cost=0.45, epsilon=0.03, temperature=10.0)
        return cls(m2=m2, a2=a2, frames=frames, pose=1 / (2 * len(m2)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "m2": {stage: config.to_dict() for stage, config in self.m2.items()},
            "a2": self.a2.to_dict(),
            "shots": self.shots,
            "pool": self.pool,
            "frames": self.frames,
            "centring": self.centring,
            # Only where they are set: files from before there were such fields stay what they are.
            **({"one_cell": True} if self.one_cell else {}),
            **({"pose": self.pose} if self.pose else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> A2M2Config:
        """The configuration behind ``to_dict``'s values.

        Raises:
            ArgumentError: A key is unknown or missing, or a value is refused.
        """
        if not isinstance(data, Mapping):
            raise ArgumentError(f"an A2M2Config is {short(data)}; expected fields and values")
        expected = {"m2", "a2", "shots", "pool", "frames", "centring"}
        if wrong := sorted((set(map(str, data)) - {"one_cell", "pose"}) ^ expected)[:8]:
            raise ArgumentError(f"an A2M2Config has the keys {sorted(expected)}; wrong: {wrong}")
        one_cell = data.get("one_cell", False)
        if not isinstance(one_cell, bool):
            raise ArgumentError(f"one_cell is {short(one_cell)}; expected true or false")
        _check(data)
        return cls(
            m2={str(stage): M2Config.from_dict(config) for stage, config in data["m2"].items()},
            a2=A2Config.from_dict(data["a2"]),
            shots=data["shots"],
            pool=data["pool"],
            frames=data["frames"],
            centring=data["centring"],
            one_cell=one_cell,
            pose=data.get("pose", 0.0),
        )


def _check(values: Mapping[str, Any]) -> None:
    """Refuse values that are out of bounds, or no values of such fields at all."""
    m2, shots, frames = values["m2"], values["shots"], values["frames"]
    if not isinstance(m2, Mapping) or not 1 <= len(m2) <= _MOST_STAGES:
        said = f"m2 is {short(m2)}" if m2 else "m2 names no stage"
        raise ArgumentError(f"{said}; give 1 to {_MOST_STAGES}")
    if not isinstance(shots, str) or shots not in ("ridge", *RULES):
        rules = ", ".join(("ridge", *RULES))
        raise ArgumentError(f"shots is {short(shots)}; expected one of {rules}")
    for name in ("centring", "pool", "pose"):
        if not is_number(value := values.get(name, 0.0)) or not 0 <= value <= LARGEST_NUMBER:
            raise ArgumentError(
                f"{name} is {short(value)}; it must be 0 or more, and at most {LARGEST_NUMBER:g}"
            )
    if not is_integer(frames) or not 1 <= frames <= MOST_FRAMES:
        raise ArgumentError(
            f"frames is {short(frames)}; expected a whole number of 1 to {MOST_FRAMES}"
        )


class A2M2(PairwiseMethod):
    """The network without its backbone.

    Descriptors of a clip are ``moments`` (S, D), unit vectors of all stages side by side, ``pooled`` (C,),
    the unit mean of the frame vectors, and, where people were looked for, ``people`` (P, T, 33, 3).
    """

    def __init__(self, config: A2M2Config) -> None:
        super().__init__()
        self.config = config
        self.stages = tuple(config.m2)
        self.rule = {"scores": "mean", "ridge": "ridge"}.get(config.shots)
        self.context_free = config.centring == 0
        self.reads_people = config.reads_people
        self.blocks = nn.ModuleDict({stage: M2Block(m2) for stage, m2 in config.m2.items()})
        self._seen: Cell | None = None
        self.layout = self._layout()
        self.align = A2Module(config.a2, groups=self.layout.groups(config.a2.groups))

    def with_alignment(self, alignment: str) -> A2M2:
        """A control: the same blocks, and so the same descriptors, under another alignment.

        Args:
            alignment: One of ``A2Config.alignment``.
        """
        a2 = replace(self.config.a2, alignment=alignment)
        control = A2M2(replace(self.config, a2=a2))
        control.load_state_dict(self.weights())
        return control.to(self.align.weights.device).train(self.training)

    def encode(self, features: Features) -> Descriptors:
        """Descriptors of B clips.

        Raises:
            ArgumentError: The clips have another number of frames than configured.
        """
        frames = features.pooled.shape[1]
        if frames != self.config.frames:
            raise ArgumentError(
                f"clips have {frames} frames; this model was built for {self.config.frames}"
            )
        roots, centres = [], []
        for stage in self.stages:
            block = self.blocks[stage]
            assert isinstance(block, M2Block)
            roots += block.roots(features.maps[stage], seen=self._seen)
            centres.append(block.centres(frames, seen=self._seen))
        seen = (
            {} if features.people is None or not self.reads_people else {"people": features.people}
        )
        return {
            "moments": unit_triangles(roots, torch.cat(centres)),
            "pooled": functional.normalize(features.pooled.float().mean(1), dim=-1),
            **seen,
        }

    def episode_logits(self, batch: TrainingBatch) -> Float[Tensor, "e q w"]:
        """``encode`` and ``score`` of a training batch, with ``one_cell`` as seen through one cell."""
        if not (self.config.one_cell and self.training):
            return super().episode_logits(batch)
        branches = [branch for m2 in self.config.m2.values() for branch in m2.branches]
        grid = max(max(branch.cells, default=1) for branch in branches)
        row, column = torch.randint(grid, (2,)).tolist()
        part = copy.copy(self)  # shares all weights
        part._seen = Cell(grid, row, column)
        part.layout = part._layout()
        return super(A2M2, part).episode_logits(batch)

    def _layout(self) -> Layout:
        """What the candidates are, of all stages side by side."""
        frames, seen = self.config.frames, self._seen
        blocks = [block for block in self.blocks.values() if isinstance(block, M2Block)]
        return join_layouts([b.layout(frames, seen=seen) for b in blocks], names=self.stages)

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Aligned similarity of every pair, with its shares of appearance and of pose."""
        return self.against(support)(query)

    def against(self, support: Descriptors) -> Callable[[Descriptors], Float[Tensor, "e q n"]]:
        """``pairs`` with supports whose candidates and people are made ready once."""
        common = self._common(support["moments"])
        aligned = self.align.against(Candidates(support["moments"], self.layout, common))
        shown = self._shown(support)

        def pairs(query: Descriptors) -> Tensor:
            scores = aligned(Candidates(query["moments"], self.layout, common))
            scores = scores + self._pool_term(query["pooled"], support["pooled"])
            if shown is not None and (seen := self._shown(query)) is not None:
                scores = scores + self._pose_term(seen, shown)
            return scores

        return pairs

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Logits by the configured rule over shots."""
        if self.rule:
            return super().score(query, support, labels=labels, way=way)
        scores = self.align.score_shots(
            *self._centred(query, support), labels=labels, way=way, rule=self.config.shots
        )
        prototypes = class_prototypes(support["pooled"][..., None, :], labels, way=way)[..., 0, :]
        prototypes = functional.normalize(prototypes, dim=-1)
        return scores + self._pool_term(query["pooled"], prototypes)

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """Plan and similarity between frames: the mean over the stages' groups of single frames."""
        names = self.align.groups
        fine = [g for g, name in enumerate(names) if name.endswith("frames/1")]
        if not fine:
            return None
        found = self.align(*self._centred(query, support))
        frames = int(found.query_mask[0, fine[0]].sum())
        plan = found.plan[..., fine, :frames, :frames].mean(-3)
        return plan, found.similarity[..., fine, :frames, :frames].mean(-3)

    def _pool_term(self, query: Tensor, support: Tensor) -> Tensor:
        cosine: Tensor = query @ support.mT
        return self.align.temperature.mul(self.config.pool) * cosine

    def _shown(self, clips: Descriptors) -> tuple[Tensor, Tensor] | None:
        """The people of clips as vectors, and how much of each clip shows somebody."""
        if not self.reads_people or "people" not in clips:
            return None
        return joint_vectors(clips["people"]), pose_presence(clips["people"])

    def _pose_term(self, query: tuple[Tensor, Tensor], support: tuple[Tensor, Tensor]) -> Tensor:
        """Nothing where either clip shows nobody, and little where little of it does."""
        shown = query[1][..., :, None] * support[1][..., None, :]
        alike = vector_pairs(query[0], support[0]) - _UNRELATED
        return self.align.temperature.mul(self.config.pose) * shown * alike

    def _centred(self, query: Descriptors, support: Descriptors) -> tuple[Candidates, Candidates]:
        """Candidates of both sides, less what the supports share."""
        queries, supports = query["moments"], support["moments"]
        common = self._common(supports)
        return Candidates(queries, self.layout, common), Candidates(supports, self.layout, common)

    def _common(self, supports: Tensor) -> Tensor | None:
        """What the supports share, as far as it is taken off."""
        if not self.config.centring:
            return None
        count = supports.shape[-3]
        share = count / (count + self.config.centring)
        common: Tensor = share * supports.mean(-3, keepdim=True)
        return common
