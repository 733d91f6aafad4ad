"""A whole run, from class folders or classes that are drawn to a model that ``load_model`` takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.workers import plain
from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError
from a2m2_zoo.features import FeatureCache
from a2m2_zoo.methods.base import Method, as_pairwise
from a2m2_zoo.training.dataset import Split, from_features, leaked, validation_of_videos
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.drawing import Drawer, all_blocks, drawn, judged
from a2m2_zoo.training.finish import MODEL, Calibration, calibrated, rejecting, save_model
from a2m2_zoo.training.generated import class_name, episodes
from a2m2_zoo.training.logs import Row
from a2m2_zoo.training.loop import Trained, train
from a2m2_zoo.training.run_folder import add_to_receipt, open_folder
from a2m2_zoo.training.schedule import trainable
from a2m2_zoo.training.shared_clips import dealt, draws
from a2m2_zoo.training.small import told
from a2m2_zoo.training.source import EpisodeSource
from a2m2_zoo.training.start import Start
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.training.verdict import compared
from a2m2_zoo.training.video import VideoSource
from a2m2_zoo.video import Limits, read_clips
from a2m2_zoo.video.content import size_of

_FEW = "there are fewer than 4 held-out classes of 3 clips to learn from what an unknown action looks like"
_OLD_CONFIDENCE = f"{_FEW}: that is kept from the model it started from"
_NO_CONFIDENCE = (
    f"{_FEW}: answers do not say so, and their confidence is the probability alone; hold out more classes "
    "(--hold-out)"
)


@dataclass(frozen=True)
class Material:
    """What a run is made of.

    Attributes:
        source: Episodes to train on.
        names: Of the training classes, in the order of their ids.
        facts: Plain values that say what it is.
        validation: What weights are chosen by.
        calibration: What probabilities are fitted on.
        judge: What it is told by whether training helped; None where nothing was kept for it.
    """

    source: EpisodeSource
    names: Sequence[str]
    facts: Mapping[str, Any]
    validation: Validation | None
    calibration: Calibration | None
    judge: Validation | None = None


@dataclass(frozen=True)
class Session:
    """What is trained on what, and where it goes.

    Attributes:
        start: Method, backbone and settings, on the device to train on.
        split: Classes to train on and to validate on; None draws those of the recipe.
        out: Folder of the run.
        cache: Folder of cached features, for a frozen backbone without augmentation.
        videos: Decode and augment videos in every step instead.
        half: Keep features in float16.
        workers: Clips decoded in parallel.
        limits: What one clip may cost.
        complain: Told what was left out, line by line.
        tell: Told what is being done, how much of it is done, and how much there is.
    """

    start: Start
    split: Split | None
    out: Path
    cache: Path
    videos: bool
    half: bool
    workers: int | None
    limits: Limits
    complain: Callable[[str], None]
    tell: Callable[[str, int, int], None]

    @plain()
    def run(
        self,
        ranks: Ranks,
        *,
        name: str,
        resume: bool,
        progress: Callable[[Row], None],
        tensorboard: bool | None,
    ) -> Trained:
        """Train, calibrate on the held-out classes, and write ``model.safetensors``.

        Args:
            ranks: This process among those of the run, joined.
            name: Of the model.
            resume: See ``train``.
            progress: See ``train``.
            tensorboard: See ``train``.

        Raises:
            A2M2Error: As ``train`` does, or clips and classes do not suffice.
        """
        start, config = self.start, self.start.config
        self._check()
        open_folder(self.out, resume=resume, ranks=ranks)
        with ExitStack() as stack:
            material = self._material(ranks, stack)
            before = deepcopy(start.finished()).eval()
            start.prepare(material.names)
            result = train(
                start.method,
                material.source,
                config=config,
                out=self.out,
                validation=material.validation,
                backbone=start.backbone if self.videos else None,
                resume=resume,
                progress=progress,
                data={
                    **material.facts,
                    "recipe": start.recipe,
                    "start": start.begins_with,
                    "backbone": start.backbone_file.sha256,
                    "runtime": start.backbone.runtime,
                    "half": self.half,
                },
                tensorboard=tensorboard,
            )
            if result.stopped != "interrupted" and ranks.first:
                return self._saved(result, before, material, name=name)
        return result

    def _saved(self, result: Trained, before: Method, material: Material, *, name: str) -> Trained:
        """Tell whether training helped, calibrate, and write the model."""
        start, config = self.start, self.start.config
        method, scales, table = start.finished(), dict(start.scales), None
        facts: dict[str, Any] = {}
        if material.judge is not None:
            self.tell("comparing with the start", 0, 1)
            verdict = compared(before, method, material.judge, config)
            result, facts["verdict"] = replace(result, verdict=verdict), verdict.to_dict()
        helped = result.verdict is None or result.verdict.better or not start.cautious
        if material.validation is not None:
            result = replace(result, kept=helped and result.best_step > 0)  # 0: it is the start
            facts["kept"] = result.kept
        if self.split is not None:
            facts["trained_on"] = sorted(material.names)
        add_to_receipt(self.out, facts)
        if not helped:
            method, table = before, start.rejection
        elif material.calibration is not None:
            self.tell("calibrating", 0, 1)
            held = material.calibration
            clips = held.clips.descriptors(method, start.backbone)
            scales = calibrated(method, clips, held, config)
            table = rejecting(method, clips, held)
        if helped and table is None and as_pairwise(method) is not None:
            table = start.rejection
            self.complain(_NO_CONFIDENCE if table is None else _OLD_CONFIDENCE)
        save_model(
            self.out,
            method,
            name=name,
            method_name=start.method_name,
            backbone=start.backbone,
            backbone_file=None if config.backbone_lr > 0 else start.backbone_file,
            preprocess=start.preprocess,
            scales=scales,
            rejection=table,
        )
        return result

    @property
    def model(self) -> Path:
        """The file that ``run`` writes in the end."""
        return self.out / MODEL

    def _check(self) -> None:
        """Refuse what cannot be trained before hours of encoding."""
        start, config = self.start, self.start.config
        if self.videos and config.most_shots:
            raise ArgumentError(
                "most_shots draws from features, and videos are decoded in every step; leave one of them out"
            )
        if self.videos and start.cautious:
            raise ArgumentError(
                f"recipe {start.recipe} leaves the backbone as it is; take features, not videos"
            )
        trainable(start.method, start.backbone if config.backbone_lr else None)
        given = start.generated
        if self.split is not None:
            sound = self.split.sound((), config)[0]
            counts = tuple(map(len, (told(sound) if start.cautious else sound).train.values()))
        elif given is None:
            raise ArgumentError("there are no clips, and no recipe that draws some; give clips")
        elif self.videos:
            raise ArgumentError("a backbone is tuned on videos; give clips, or keep it frozen")
        else:
            counts = (given.inside,) * given.classes
        if config.pool > len(counts):
            raise EpisodeError(
                f"pool is {config.pool} and {len(counts)} classes can be trained on; "
                "lower pool or add classes"
            )
        EpisodePlan(
            counts, way=config.way, shot=config.most_shots or config.shot, query=config.query
        )

    def _material(self, ranks: Ranks, stack: ExitStack) -> Material:
        if self.split is None:
            return self._drawn(ranks)
        if self.videos:
            source, validation, split = self._from_videos(self.split, stack)
            judge = None
            content: Callable[[Path], str] = size_of
        else:
            source, validation, judge, split, content = self._from_features(self.split, ranks)
        fitted = None
        if validation is not None:
            # All clips of held-out classes; of classes that are trained on, queries that chose no weights.
            clips = judge or validation
            clips = clips if split.same else replace(clips, asked=None)
            fitted = Calibration.of_validation(clips, self.start.config)
            if self.start.cautious:  # what is measured before training is the start itself
                validation = replace(validation, kept=self.start.finished)
        content = functools.cache(content)  # each clip is asked for several times
        if not self.videos and (line := leaked(split, content)) is not None:
            self.complain(line)
        facts = {**split.facts(content), "left_out": len(self.split.clips) - len(split.clips)}
        if self.start.distortion is not None:
            facts["distortion"] = self.start.distortion.to_dict()
        return Material(source, list(split.train), facts, validation, fitted, judge)

    def _drawn(self, ranks: Ranks) -> Material:
        """The recipe's own classes, drawn where they are not yet."""
        start, given = self.start, self.start.generated
        assert given is not None
        drawer = Drawer(self.cache, start.backbone, start.backbone_file.sha256, start.preprocess)
        if ranks.first:
            drawer.fill(all_blocks(given), workers=self.workers, tell=self.tell)
        ranks.wait()
        validation, fitted = judged(drawer, given)
        facts = {
            "train": {"classes": given.classes, "clips": len(given.clips)},
            "generated": given.to_dict(),
            "distortion": start.distortion and start.distortion.to_dict(),
        }
        return Material(
            episodes(drawn(drawer, given), given, start.config, start.distortion),
            [class_name(label) for label in range(given.classes)],
            facts,
            validation,
            Calibration(fitted, given.held_episodes, given.held_seed),
        )

    def _from_features(
        self, asked: Split, ranks: Ranks
    ) -> tuple[EpisodeSource, Validation | None, Validation | None, Split, Callable[[Path], str]]:
        start = self.start
        split, cache = self._cached(asked, ranks)
        made = from_features(
            split,
            cache,
            config=start.config,
            half=self.half,
            folder=self.out,
            distortion=start.distortion,
        )
        return *made, split, cache.content

    def _from_videos(
        self, asked: Split, stack: ExitStack
    ) -> tuple[EpisodeSource, Validation | None, Split]:
        start, config = self.start, self.start.config
        if start.distortion is not None:
            self.complain("the recipe distorts features; from videos it trains without that")
        split = self._readable(asked)
        how: dict[str, Any] = {"workers": self.workers, "limits": self.limits}
        videos = stack.enter_context(
            VideoSource(
                split.train,
                draws(config),
                preprocess=start.preprocess,
                stages=start.method.stages,
                augment=start.augment,
                report=self.complain,
                **how,
            )
        )
        stages = start.method.stages
        validation = validation_of_videos(split, start.preprocess, stages=stages, **how)
        return dealt(videos, config), validation, split

    def _cached(self, asked: Split, ranks: Ranks) -> tuple[Split, FeatureCache]:
        """The split with what could be encoded, and the cache that holds it."""
        start = self.start
        cache = FeatureCache(
            self.cache,
            backbone=start.backbone,
            backbone_hash=start.backbone_file.sha256,
            preprocess=start.preprocess,
            stages=start.method.stages,
            half=self.half,
            people=start.reads_people,
        )
        clips = asked.clips
        for turn in (True, False):  # the others find what the first process has encoded
            if ranks.first is turn:
                failures = cache.fill(
                    clips,
                    workers=self.workers,
                    limits=self.limits,
                    progress=lambda done, total: self.tell("encoding", done, total),
                )
            ranks.wait()
        return self._without(asked, failures), cache

    def _readable(self, asked: Split) -> Split:
        """The split without held-out clips that cannot be decoded; training clips are replaced on the way."""
        clips = [clip for some in asked.held.values() for clip in some]
        failures: dict[Path, str] = {}
        read = read_clips(clips, self.start.preprocess, workers=self.workers, limits=self.limits)
        for done, (clip, found) in enumerate(zip(clips, read, strict=True)):
            if isinstance(found, A2M2Error):
                failures[clip] = str(found)
            self.tell("reading held-out clips", done + 1, len(clips))
        return self._without(asked, failures)

    def _without(self, asked: Split, failures: dict[Path, str]) -> Split:
        for clip, reason in failures.items():
            self.complain(f"left out {clip}: {reason.removeprefix(f'{clip}: ')}")
        split, lines = asked.sound(failures, self.start.config)
        for line in lines:
            self.complain(f"left out class {line}")
        return told(split) if self.start.cautious else split
