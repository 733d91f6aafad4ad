"""What `a2m2 train` trains on: which clips, what of them is held out, and the recipe that follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.files import exists, is_folder
from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import output
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.cli.train import Beginning, Clips
    from a2m2_zoo.training.dataset import Classes, Split

_SHARE = 0.2  # of the classes is held out, if nobody says


def check(clips: Clips, beginning: Beginning) -> None:
    """Refuse options that contradict each other, before anything is read."""
    if beginning.recipe is not None and (beginning.method is not None or beginning.from_scratch):
        raise ArgumentError("--recipe names its own method and its own start; leave those out")
    if beginning.recipe is None and beginning.backbone_weights is not None:
        raise ArgumentError("--backbone-weights is for --recipe; --model brings its own backbone")
    if clips.data is None:
        _check_drawn(clips, beginning.recipe)


def _check_drawn(clips: Clips, recipe: str | None) -> None:
    """Refuse to go without DATA, unless the recipe draws its own."""
    from a2m2_zoo.training.recipes import recipe as find_recipe

    if recipe is None or find_recipe(recipe).generated is None:
        raise ArgumentError(
            "DATA is missing; give a folder with one folder of clips per class (--recipe a2m2-lite0 alone "
            "draws its own)"
        )
    if clips.validation or clips.list_file or clips.benchmark:
        raise ArgumentError(
            "--validation, --list and --benchmark go with DATA; give it, or leave them out"
        )


def chosen(
    clips: Clips, beginning: Beginning, settings: dict[str, Any]
) -> tuple[Beginning, dict[str, Any], Split | None]:
    """The recipe, the settings and the split that the options and the clips ask for.

    Args:
        clips: The options.
        beginning: The options; a small set of clips and nothing else asked for adds the recipe for such.
        settings: Those that were asked for; a cautious recipe adds sizes that fit the clips.

    Raises:
        A2M2Error: There are no such clips, too few, or the options contradict each other.
    """
    from a2m2_zoo.training.recipes import recipe as find_recipe
    from a2m2_zoo.training.small import fitted

    listed = None if clips.data is None else _listed(clips.data, clips, "train")
    beginning = with_recipe(beginning, clips, listed)
    recipe = None if beginning.recipe is None else find_recipe(beginning.recipe)
    cautious = recipe is not None and recipe.cautious
    if clips.by is not None and (
        not cautious or clips.validation or clips.list_file or clips.benchmark
    ):
        raise ArgumentError(
            "--hold-out-by is for the recipe small on one folder of clips, without --validation, --list and "
            "--benchmark; leave it out"
        )
    if listed is None:
        return beginning, settings, None
    if cautious and (beginning.tune_backbone or settings.get("backbone_lr")):
        raise ArgumentError(
            f"the recipe {beginning.recipe} leaves the backbone as it is; leave --tune-backbone and "
            "backbone_lr out, or name another --recipe or --method"
        )
    split = _split(listed, clips, seed=settings.get("seed", 0), cautious=cautious)
    if recipe is not None and cautious:
        settings = fitted(split, settings, recipe.training_config.to_dict())
    return beginning, settings, split


def with_recipe(beginning: Beginning, clips: Clips, listed: Classes | None) -> Beginning:
    """With the recipe for small sets, where the clips are one and nothing else is asked for."""
    from a2m2_zoo.training.small import RECIPE, divided, is_small

    plain = (
        beginning.recipe is None
        and beginning.method is None
        and beginning.model == DEFAULT_MODEL
        and not (beginning.from_scratch or beginning.tune_backbone)
        and not (clips.list_file or clips.benchmark)
    )
    if not plain or listed is None or not is_small(listed) or clips.share == 0:
        return beginning
    if clips.validation is None and (beginning.steps or beginning.settings):
        # Who says how to train may train on clips that are too few to tell by whether it helped.
        try:
            divided(listed, by=None if clips.by is None else clips.by.value, share=clips.share)
        except EpisodeError as error:
            output.complain(
                f"nothing will say whether training helped (the recipe {RECIPE} is not taken): {error}"
            )
            return beginning
    count = sum(map(len, listed.values()))
    output.complain(
        f"{counted(len(listed), 'class')}, {counted(count, 'clip')}: training with the recipe {RECIPE}; "
        "--recipe or --method asks for another"
    )
    return replace(beginning, recipe=RECIPE)


def _listed(data: Path, clips: Clips, split: str) -> Classes:
    """The classes of a folder, or of a list's or a benchmark's split of it."""
    from a2m2_zoo.data.lists import open_dataset

    list_file, benchmark = clips.list_file, clips.benchmark
    one = list_file is not None and exists(list_file) and not is_folder(list_file)
    if one and clips.validation is None:
        raise ArgumentError(
            "--list names one file; give the folder that holds the lists of train and val, or --validation"
        )
    found = open_dataset(data, list_file=list_file, benchmark=benchmark, split=split)
    if found.missing:
        output.complain(f"not there: {counted(len(found.missing), f'listed {split} video')}")
    return found.classes


def _split(train: Classes, clips: Clips, *, seed: Any, cautious: bool) -> Split:
    """What is trained on and held out: of two folders, of a benchmark's splits, or of one folder."""
    from a2m2_zoo.data.lists import open_dataset
    from a2m2_zoo.training.dataset import Split, hold_out
    from a2m2_zoo.training.small import divided, halved

    seed = seed if isinstance(seed, int) else 0
    if clips.validation is not None:
        split = Split(train, open_dataset(clips.validation).classes)
    elif clips.list_file is not None or clips.benchmark is not None:
        assert clips.data is not None
        split = Split(train, _listed(clips.data, clips, "val"))
    elif cautious:
        by = None if clips.by is None else clips.by.value
        return divided(train, by=by, share=clips.share, seed=seed)
    else:
        return hold_out(train, _SHARE if clips.share is None else clips.share, seed=seed)
    return halved(split, seed=seed) if cautious else split
