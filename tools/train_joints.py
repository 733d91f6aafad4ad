"""Train the joints head on the generator's exact joints, and judge it on classes that it has not seen.

    python tools/train_joints.py --work joints --install

Draws the joints of generated classes (kept in WORK, so that a second run begins at once), films them from
anywhere with the errors that are made when people are found, and trains. The head kept is the one that was
best on generated validation classes. ``--install`` writes it into the package; the receipt goes to
``--receipt``.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.pose.body import NAMES
from a2m2_zoo.pose.joints_head import EMBEDDED, JointsHead, limbs_alone, mirrored
from a2m2_zoo.pose.kernel import alike, frame_cosines
from a2m2_zoo.synthetic import trajectory
from a2m2_zoo.synthetic.skeleton import JOINTS

PACKAGE = Path(__file__).parent.parent / "a2m2_zoo"
CLASSES, CLIPS, TIMES = 5000, 10, 32
HELD = range(5100, 5260, 4)  # to validate on: one of each family, as for the other heads
HELD_CLIPS, HELD_SEED, SEED = 12, 11, 21
FRAMES, WAY, CLIPS_OF_EACH = 8, 20, 4
LABELS = torch.arange(WAY).repeat_interleave(CLIPS_OF_EACH)
_SAME = {"heel": "ankle", "foot_index": "toe", "pinky": "hand", "index": "hand", "thumb": "hand"}


def tracks(work: Path, name: str, seed: int, classes: range, clips: int) -> NDArray[np.float16]:
    """Joints in space, NaN for a second person who is not there: (classes, clips, 2, TIMES, 20, 3)."""
    path = work / f"{name}.npy"
    if not path.exists():
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(partial(_class, seed, clips), classes, chunksize=20))
        scratch = path.with_suffix(".part.npy")
        np.save(scratch, np.stack(rows))
        scratch.replace(path)
    return np.load(path)


def _class(seed: int, clips: int, label: int) -> NDArray[np.float16]:
    made = np.full((clips, 2, TIMES, len(JOINTS), 3), np.nan, np.float16)
    times = (np.arange(TIMES) + 0.5) / TIMES
    for i in range(clips):
        joints = trajectory(seed, label, i, times=times)
        made[i, : len(joints)] = joints
    return made


def _source(name: str) -> int:
    """Which of the generator's joints stands for a point of the body."""
    side, _, part = name.partition("_")
    if side not in ("left", "right") or part in ("eye", "eye_inner", "eye_outer", "ear"):
        return JOINTS.index("head")
    return JOINTS.index(f"{side}_{_SAME.get(part, part)}")


_SOURCES = [_source(name) for name in NAMES]


def filmed(joints: Tensor, rng: torch.Generator) -> Tensor:
    """Joints (b, 2, t, 20, 3) as cameras see them, each clip from somewhere: (b, 2, t, 33, 2)."""
    count = len(joints)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=rng)

    front = 0.6 * torch.randn(count, generator=rng)
    around = front.where(torch.rand(count, generator=rng) < 0.5, uniform(-math.pi, math.pi))
    up, distance = uniform(-0.1, 0.7), uniform(3, 10)[:, None, None, None]
    zero = torch.zeros(count)
    toward = torch.stack((up.cos() * around.cos(), up.sin(), up.cos() * around.sin()), -1)
    right = torch.stack((around.sin(), zero, -around.cos()), -1)
    axes = torch.stack((right, torch.linalg.cross(toward, right), toward), 1)
    seen = torch.einsum("bptjk,bak->bptja", joints, axes)
    seen = seen - seen[:, 0].mean((1, 2))[:, None, None, None]
    near = distance / (distance - seen[..., 2]).clamp_min(1)
    places = seen[..., :2] * near[..., None] * joints.new_tensor((1.0, -1.0))
    moved = torch.randn(count, 2, 2, generator=rng) * torch.tensor((0.15, 0.02))[:, None]
    times = torch.linspace(-0.5, 0.5, places.shape[2])[:, None]
    drift = moved[:, None, 0] * times  # the camera turns, evenly, and trembles
    shake = moved[:, None, 1] * torch.randn(count, len(times), 1, generator=rng)
    return (places + (drift + shake)[:, None, :, None])[..., _SOURCES, :]


def spoiled(places: Tensor, rng: torch.Generator) -> Tensor:
    """Points as a network finds them: noisy, some wrong, hidden or missing; as in ``people_tensor``."""
    b, p, t, points = places.shape[:4]

    def chance(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    level = 0.025 * chance(b, 1, 1, 1, 1)
    places = places + level * (noise(b, p, t, points, 2) + noise(b, p, 1, points, 2))
    wrong = chance(b, p, t, points, 1) < 0.03
    places = places + wrong * 0.12 * noise(b, p, t, points, 2)
    hidden = (chance(b, p, 1, points) < 0.12) | (chance(b, p, t, points) < 0.05)
    visible = (1 - 0.15 * chance(b, p, t, points)).where(~hidden, 0.6 * chance(b, p, t, points))
    places = places + hidden[..., None] * 0.06 * noise(b, p, t, points, 2)
    below = torch.tensor([NAMES.index("left_knee") <= i for i in range(points)])
    cut = (chance(b, 1, 1, 1) < 0.1) & below  # the legs are out of the picture
    visible = visible.where(~cut, 0.2 * visible)
    missing = chance(b, p, t) < 0.5 * chance(b, 1, 1) ** 3
    found = places[..., 0, 0].isfinite() & ~missing
    people = torch.cat((places, visible[..., None]), -1)
    people = people.where(found[..., None, None], 0.0)
    flipped = chance(b, 1, 1, 1, 1) < 0.5
    people = mirrored(people).where(flipped, people)
    swapped = chance(b, 1, 1, 1, 1) < 0.5
    return people.flip(1).where(swapped, people)


def batch(joints: Tensor, rng: torch.Generator) -> Tensor:
    """Clips of some classes, class by class; every other time of neighbours, which have much in common."""
    classes = len(joints)
    if torch.rand((), generator=rng) < 0.5:
        labels = torch.randperm(classes, generator=rng)[:WAY]
    else:
        labels = int(torch.randint(classes - WAY, (), generator=rng)) + torch.arange(WAY)
    clips = torch.stack(
        [torch.randperm(joints.shape[1], generator=rng)[:CLIPS_OF_EACH] for _ in labels]
    )
    chosen = joints[labels[:, None], clips].flatten(0, 1).float()
    step = TIMES // FRAMES
    first = torch.randint(step, (len(chosen), 1), generator=rng)
    when = (first + step * torch.arange(FRAMES))[:, None, :, None, None]
    chosen = chosen.gather(2, when.expand(-1, 2, -1, *chosen.shape[-2:]))
    return spoiled(filmed(chosen, rng), rng)


def loss_of(cosines: Tensor, sharpness: Tensor, rng: torch.Generator) -> Tensor:
    """Cross-entropy of every clip against the others of all classes, and against one of each."""
    scores = sharpness.exp() * cosines
    members = functional.one_hot(LABELS).to(scores)
    others = scores.masked_fill(torch.eye(len(LABELS), dtype=torch.bool), 0.0)
    means = (others @ members) / (members.sum(0) - members)
    one = torch.stack([torch.randperm(CLIPS_OF_EACH, generator=rng)[0] for _ in range(WAY)])
    supports = torch.arange(WAY) * CLIPS_OF_EACH + one
    queries = torch.ones(len(LABELS), dtype=torch.bool).index_fill(0, supports, False)
    alone = scores[queries][:, supports]
    return functional.cross_entropy(means, LABELS) + functional.cross_entropy(
        alone, LABELS[queries]
    )


def judged(
    vectors: Tensor, labels: Tensor, *, shots: tuple[int, ...] = (1, 5), episodes: int = 2000
) -> dict[str, float]:
    """Number of supports → accuracy in percent by ridge regression, 5-way, of vectors that a head gave."""
    kernel = alike(frame_cosines(vectors, vectors)).double()
    found = {}
    for shot in shots:
        draw = draw_episodes(
            labels, EpisodeForm(way=5, shot=shot, query=1, episodes=episodes, seed=5)
        )
        among = kernel[draw.support[:, :, None], draw.support[:, None]]
        scores = Ridge.fit(among, draw.labels, way=5).scores(
            kernel[draw.query[:, :, None], draw.support[:, None]]
        )
        right = (scores.argmax(-1) == draw.truth).double().mean()
        found[str(shot)] = round(100 * float(right), 2)
    return found


def trained(joints: Tensor, held: tuple[Tensor, Tensor], *, steps: int, seed: int) -> Any:
    """The best head on the validation classes, its accuracy, and the curve."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    head, sharpness = JointsHead(), nn.Parameter(torch.tensor(2.3))
    parameters = [*head.parameters(), sharpness]
    optimiser = torch.optim.AdamW(parameters, 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=steps, pct_start=0.1
    )
    curve: list[dict[str, Any]] = []
    best: tuple[float, JointsHead] | None = None
    begun = time.monotonic()
    for step in range(1, steps + 1):
        vectors = head(batch(joints, rng))
        cosines = frame_cosines(vectors, vectors).clamp_min(-1)
        loss = loss_of(cosines, sharpness, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 0 or step == steps:
            with torch.inference_mode():
                accuracy = judged(head(held[0]), held[1])
            curve.append({"step": step, "accuracy": accuracy})
            seconds = time.monotonic() - begun
            print(
                f"{step} of {steps}: loss {loss.item():.2f}, {accuracy}, {seconds:.0f} s",
                flush=True,
            )
            if best is None or sum(accuracy.values()) > best[0]:
                best = sum(accuracy.values()), copy.deepcopy(head)
    assert best is not None
    return best[1].eval(), curve


def main() -> None:
    """Draw, train, judge, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the drawn joints")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the head")
    parser.add_argument("--install", action="store_true", help="write it into the package")
    parser.add_argument("--receipt", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    joints = torch.from_numpy(tracks(given.work, "train", SEED, range(CLASSES), CLIPS))
    held = torch.from_numpy(tracks(given.work, "held", HELD_SEED, HELD, HELD_CLIPS))
    rng = torch.Generator().manual_seed(HELD_SEED)
    frames = torch.arange(FRAMES) * (TIMES // FRAMES) + TIMES // FRAMES // 2
    people = spoiled(filmed(held.float().flatten(0, 1)[:, :, frames], rng), rng)
    labels = torch.arange(len(held)).repeat_interleave(HELD_CLIPS)
    head, curve = trained(joints, (people, labels), steps=given.steps, seed=given.seed)
    data = save({name: value.contiguous() for name, value in head.state_dict().items()})
    for path in (given.out, PACKAGE / "weights" / EMBEDDED if given.install else None):
        if path is not None:
            write_atomically(path, lambda scratch: scratch.write_bytes(data))
    if given.receipt is not None:
        made = {
            "torch": torch.__version__,
            "sha256": hashlib.sha256(data).hexdigest(),
            "classes": CLASSES,
            "clips": CLIPS,
            "steps": given.steps,
            "seed": given.seed,
        }
        with torch.inference_mode():
            vectors = head(people)
        found = {"head": judged(vectors, labels), "limbs": judged(limbs_alone(vectors), labels)}
        given.receipt.write_text(json.dumps({**made, **found, "curve": curve}, indent=2) + "\n")


if __name__ == "__main__":
    main()
