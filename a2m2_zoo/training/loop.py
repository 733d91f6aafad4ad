"""Training: steps, validation on held-out classes, checkpoints, and how a run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from a2m2_zoo._utils.notebooks import in_notebook
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.backbones import Backbone
from a2m2_zoo.data.draws import Draw
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Method, as_pairwise
from a2m2_zoo.training import state
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distributed import Ranks, joined
from a2m2_zoo.training.logs import LiveTable, Log, Row
from a2m2_zoo.training.run_folder import open_folder, write_receipt
from a2m2_zoo.training.schedule import Optimiser, rate_factor, trainable
from a2m2_zoo.training.signals import Stop, watched
from a2m2_zoo.training.source import EpisodeSource
from a2m2_zoo.training.step import Stepper, StepResult, batches, trained_modes
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.training.verdict import Verdict

_FAULTS = 10  # steps without a finite number, one after another, that end a run


@dataclass(frozen=True)
class Trained:
    """How a run ended. The method holds the best weights, or the last ones if it was interrupted.

    Attributes:
        step: Steps done.
        stopped: ``"steps"``: all were done; ``"patience"``: no better validation for long;
            ``"interrupted"``: by Ctrl-C or SIGTERM, saved and ready to resume.
        best_step: Step of the weights that are kept.
        best_accuracy: Percent on the held-out classes, mean over the shots; None without validation.
        curve: Every validation: ``step``, and percent right by number of shots.
        skipped: Steps left out because a number was not finite.
        seconds: Over all sessions.
        signal: What interrupted it; 0 for nothing.
        verdict: Whether the trained head is better than the one it started from; ``Session.run`` finds out.
        kept: Whether the model that was written has the trained head, and not the one it started from.
    """

    step: int
    stopped: str
    best_step: int
    best_accuracy: float | None
    curve: tuple[Mapping[str, Any], ...]
    skipped: int
    seconds: float
    signal: int = 0
    verdict: Verdict | None = None
    kept: bool = True


@plain()
def train(
    method: Method,
    source: EpisodeSource,
    *,
    config: TrainingConfig,
    out: str | Path,
    validation: Validation | None = None,
    backbone: Backbone | None = None,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
    data: Mapping[str, Any] | None = None,
    tensorboard: bool | None = None,
) -> Trained:
    """Train a method in place, episode by episode.

    ``out`` gets ``last.safetensors`` (to resume from), ``best.safetensors``, ``log.jsonl`` and
    ``receipt.json``. A resumed run gives the same weights to the last bit as one that was never stopped,
    where kernels are deterministic (a CPU's are). Under ``torchrun`` every process calls this with the
    same arguments and its own device; the first one validates, logs and saves.

    Args:
        method: On the device to train on. What its losses need is added to it if it has none yet.
        source: Where episodes come from.
        config: The settings. ``way``, ``shot``, ``query`` and ``batch`` are what the source was made with.
        out: Folder of the run; it is made.
        validation: Held-out classes. Without it the last weights are the best ones.
        backbone: For a source of frames; tuned in place if ``config.backbone_lr`` is above 0.
        resume: Go on with the run in ``out``; where there is none, begin.
        progress: Called with every row of the log, and with a ``note`` when Ctrl-C is heard.
        data: Plain values that say what is trained on: for the receipt, and compared on resuming.
        tensorboard: True asks for it, False does without, None takes it where it is installed.

    Raises:
        ArgumentError: Settings do not fit the method, the source or the run in ``out``; or 10 steps in a
            row gave no finite number.
        EpisodeError: Held-out classes have too few clips.
        CheckpointError: The state to resume from is damaged.
        SaveError: ``out`` cannot be written; what was saved before stays.
        DependencyError: TensorBoard was asked for and is not there.
    """
    if config.backbone_lr and backbone is None:
        raise ArgumentError("backbone_lr is above 0 and there is no backbone; give one, and frames")
    _set_rule(method, config)
    draws = {} if validation is None else validation.draws(config)
    held = next(chain(method.parameters(), (backbone or method).parameters()), torch.empty(0))
    cards = [held.device] if held.device.type == "cuda" else []
    with joined(held.device) as ranks, torch.random.fork_rng(devices=cards):
        folder = open_folder(Path(out), resume=resume, ranks=ranks)
        torch.manual_seed(config.seed)
        if not len(method.extra):
            method.prepare_training(classes=source.classes)
        method.to(held.device)
        tuned = backbone if config.backbone_lr else None
        parameters = trainable(method, tuned)
        optimiser = Optimiser(parameters, config)
        facts = state.facts_of(method, config, size=ranks.size, data=data or {})
        run = state.Run(folder, method, tuned, optimiser, facts)
        at = run.load() if resume and (folder / state.LAST).exists() else state.Progress()
        for module in (method, *([tuned] if tuned is not None else [])):
            ranks.same_start(module)
        scale = state.scale_of(at, config)
        stepper = Stepper(
            method,
            backbone,
            list(parameters.values()),
            optimiser,
            scale,
            config,
            ranks,
            held.device,
        )
        if progress is None and in_notebook():
            progress = LiveTable(config.steps)
        tell = progress if progress is not None and ranks.first else _silent
        log = Log(folder, after=at.step, tensorboard=tensorboard) if ranks.first else None
        loop = _Loop(run, at, stepper, source, validation, draws, log, tell)
        with trained_modes(method, backbone, config), closing(log) if log else nullcontext():
            stopped = loop.run_on()
        return _finish(loop, stopped)


@dataclass
class _Loop:
    run: state.Run
    at: state.Progress
    stepper: Stepper
    source: EpisodeSource
    validation: Validation | None
    draws: dict[int, Draw]
    log: Log | None
    tell: Callable[[Row], None]
    clock: float = field(default_factory=time.perf_counter)
    clips: int = 0
    busy: float = 0.0
    signal: int = 0

    @property
    def config(self) -> TrainingConfig:
        return self.stepper.config

    @property
    def ranks(self) -> Ranks:
        return self.stepper.ranks

    def run_on(self) -> str:
        """Take all steps that are left; say why it ended."""
        at, config = self.at, self.config
        if at.step == 0 and not at.curve:
            self._validate()
        if self._enough():  # it had ended before
            return "patience"
        stop = Stop(
            hard=self.ranks.size == 1,
            tell=lambda: self.tell({"note": "finishing this step; Ctrl-C again stops at once"}),
        )
        steps = batches(self.source, config, self.ranks, start=at.step)
        with watched(stop), closing(steps):
            for some in steps:
                began = time.perf_counter()
                result = self.stepper.take(at.step, some, stop=stop.requested)
                self.busy += time.perf_counter() - began
                self._count(result)
                ended = at.step == config.steps
                if ended or (config.validate_every and at.step % config.validate_every == 0):
                    self._validate()
                    ended = ended or self._enough()
                requested = result.stop or (self.ranks.size == 1 and stop.requested)
                if requested or ended or at.step % config.checkpoint_every == 0:
                    self._save()
                if ended:
                    break
                if requested:
                    self.signal = stop.number
                    return "interrupted"
        return "patience" if at.step < config.steps else "steps"

    def _count(self, result: StepResult) -> None:
        at, config = self.at, self.config
        at.step += 1
        self.clips += result.clips
        if result.fault is None:
            at.skipped_in_a_row = 0
        else:
            at.skipped += 1
            at.skipped_in_a_row = 0 if result.overflow else at.skipped_in_a_row + 1
            self._write({"step": at.step, "skipped": f"{result.fault} is not finite"})
        every = at.step == config.steps == at.skipped
        if at.skipped_in_a_row >= _FAULTS or every:
            some = "every step" if every else f"{_FAULTS} steps in a row, up to step {at.step}"
            raise self._diverged(f"{result.fault} was not finite in {some}")
        if result.fault is None and (at.step % config.log_every == 0 or at.step == config.steps):
            speed = self.clips / max(self.busy, 1e-9)
            self.clips, self.busy = 0, 0.0
            self._write(
                {
                    "step": at.step,
                    "loss": sum(result.losses.values()),
                    "losses": result.losses,
                    "lr": config.lr * rate_factor(at.step - 1, config),
                    "grad_norm": result.grad_norm,
                    "clips_per_second": speed,
                }
            )

    def _diverged(self, what: str) -> ArgumentError:
        return ArgumentError(
            f"{what}; lower lr ({self.config.lr:g}), take precision float32, or look for broken features"
        )

    def _validate(self) -> None:
        """Measure, and keep the weights if they are the best so far."""
        if self.validation is None or not self.ranks.first:
            return
        at, (method, backbone) = self.at, (self.stepper.method, self.stepper.backbone)
        try:
            found = self.validation.accuracy(method, backbone, self.draws)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise self._diverged(
                f"the head's scores are not finite after step {at.step}"
            ) from error
        mean = sum(found.values()) / len(found)
        shown = {str(shot): round(value, 4) for shot, value in found.items()}
        at.curve.append({"step": at.step, **shown})
        at.without_better += 1
        if at.best_step < 0 or mean > at.best_accuracy:
            at.best_step, at.best_accuracy, at.without_better = at.step, mean, 0
            self.run.save_best(at)
        best = {"best": round(at.best_accuracy, 4), "best_step": at.best_step}
        self._write({"step": at.step, "validation": shown, **best})

    def _enough(self) -> bool:
        """Whether patience is over; the first process, which validates, decides."""
        over = 0 < self.config.patience <= self.at.without_better
        return bool(self.ranks.agree(over, self.stepper.device))

    def _save(self) -> None:
        at, scale = self.at, self.stepper.scale
        now = time.perf_counter()
        at.seconds, self.clock = at.seconds + now - self.clock, now
        at.loss_scale, at.growth_tracker = scale.value, scale.growth_tracker
        if self.ranks.first:
            self.run.save(at)

    def _write(self, row: Row) -> None:
        if self.log is not None:
            self.log.write(row)
            self.tell(row)


def _finish(loop: _Loop, stopped: str) -> Trained:
    at, run = loop.at, loop.run
    if loop.validation is None and stopped != "interrupted":
        at.best_step = at.step
        if loop.ranks.first:
            run.save_best(at)
    loop.ranks.wait()
    if stopped != "interrupted":
        run.load_best()
    result = Trained(
        step=at.step,
        stopped=stopped,
        best_step=at.best_step,
        best_accuracy=None if loop.validation is None else at.best_accuracy,
        curve=tuple(at.curve),
        skipped=at.skipped,
        seconds=at.seconds,
        signal=loop.signal,
    )
    if loop.ranks.first:
        write_receipt(run.out, _facts(loop, result))
    return result


def _facts(loop: _Loop, result: Trained) -> dict[str, Any]:
    own = {"signal", "verdict", "kept"}
    ended = {key: value for key, value in vars(result).items() if key not in own}
    return {
        **loop.run.facts,
        "processes": loop.ranks.size,
        "device": loop.stepper.device.type,
        "parameters": sum(p.numel() for p in loop.stepper.parameters),
        "loss_parts": sorted(loop.run.method.extra),
        "classes": loop.source.classes,
        "held_out": [] if loop.validation is None else list(loop.validation.names),
        "result": {**ended, "curve": list(result.curve)},
    }


def _silent(row: Row) -> None:
    """Nobody listens."""


def _set_rule(method: Method, config: TrainingConfig) -> None:
    pairwise = as_pairwise(method)
    if config.rule == "ridge" and (pairwise is None or pairwise.rule != "ridge"):
        raise ArgumentError(
            f"rule is 'ridge' and {type(method).__name__} does not answer by ridge regression over pair "
            "scores; leave rule out, or train a2m2 with method.shots=ridge"
        )
    if pairwise is not None:
        pairwise.training_rule = config.rule
