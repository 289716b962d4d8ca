"""The section `noise` of a build's configuration: which training sets are made."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from common.config import output, percent_hint, require_share

Color = Literal["red", "red-text", "red-closed", "red-open", "blue", "blue-asymmetric", "blue-instance"]
PAPER_LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


@dataclass(frozen=True)
class NoiseConfig:
    """Which training sets are made."""

    RENAMED: ClassVar = {
        "colours": "colors",
        "listed": "fixed_sets",
        "may_vanish": "allow_empty_classes",
    }

    levels: tuple[float, ...] | None = output(None)
    """Noise levels: shares of wrong labels, each from 0 up to less than 1. Default: those of 0, 0.05, 0.1, 0.15, 0.2, 0.3,
    0.4, 0.5, 0.6 and 0.8 (the levels of the paper) for which every class has enough verified-wrong images."""
    colors: tuple[Color, ...] = output(("red", "blue"))
    """Kinds of noise. red: verified-wrong web images replace clean images. red-text: the same, with web images whose
    `method` is text. red-closed: the same, with images that show another listed class, by the votes. red-open: the same, with
    the other wrong images, which show no listed class as far as the votes say. blue: labels are flipped uniformly to the
    other classes. blue-asymmetric: labels are flipped by `class_map`. blue-instance: labels are flipped by what the image
    looks like (`instance`), which needs the stage embed (`embed.weights`)."""
    instance: Literal["part-dependent", "margin", "cluster", "votes"] = output("part-dependent")
    """How blue-instance noise chooses the wrong label of an image, from its features. part-dependent: drawn by random
    directions of each class (Xia et al., 2020). margin: the most probable other class (Zhang et al., 2021). cluster: one
    wrong label for the images of a class that look alike (Lim et al., 2024). votes: the label that workers gave to the most
    similar web image of the class."""
    candidate_order: Literal["evidence", "hash"] = output("evidence")
    """Order in which the verified-wrong web images of a class are used. evidence: the better supported first, by P(wrong)
    in steps of 0.05, equally supported ones by a keyed hash. The true level is then closer to the nominal one, but higher
    levels have less certain images. hash: by a keyed hash alone."""
    on_shortage: Literal["error", "shrink", "cap"] = output("error")
    """What to do when a class has too few verified-wrong images for a level. error: stop. shrink: use fewer clean images of
    the class, so that the level holds (as the published sets do). cap: replace fewer images, so that the level is missed."""
    allow_empty_classes: tuple[str, ...] = output(())
    """Classes that may have no clean image in a set when `on_shortage` is shrink (default: none). An error names every
    other class without one."""
    class_map: dict[str, str] | Literal["next", "votes"] = output("next")
    """Wrong class for each class, for blue-asymmetric noise. A map of names: from a class to its wrong class; classes that
    it leaves out get the next class of `classes`. next: every class gets the next class. votes: every class gets the
    class that its verified-wrong web images show most often, by their verdicts."""
    clean_per_class: int | None = output(None)
    """Number of clean images per class in red sets, 1 or more, drawn by a keyed hash (default: all). The published red sets
    use 500 of 600."""
    blue_size: Literal["same", "all"] = output("same")
    """Clean images of blue sets. same: those of the red sets. all: every clean image (as in the published sets)."""
    min_confidence: float = output(0.0)
    """Lowest confidence, from 0 to 1, at which a web image with the verdict no counts as wrong."""
    trials: int = output(1)
    """Number of independent draws of every set, from 1 to 10,000. Trial t equals a build with seed + t, except that all
    trials use the clean images that `clean_per_class` draws with `seed`."""
    nested: bool = output(True)
    """Keep the wrong labels of lower levels in the higher ones (default: true). If false, every level is drawn on its own."""
    fixed_sets: tuple[str, ...] = output(())
    """Files with sets that are made exactly as given, such as released ones: columns set_name, image_id, class_name, and
    optionally color and noise_level. Their noise is measured, and may differ from the level that they claim."""

    def __post_init__(self) -> None:
        levels = self.levels or ()
        if (self.levels == () or not self.colors) and not self.fixed_sets:
            key = "colors" if self.levels != () else "levels"
            raise ValueError(f"{key} is empty, so that there is no training set; add one, or fixed_sets")
        for level in levels:
            if not 0 <= level < 1:
                raise ValueError(
                    f"levels must be shares from 0 up to less than 1, got {level:g}{percent_hint(level)}"
                )
        if not 1 <= self.trials <= 10_000:
            raise ValueError(f"trials must be 1 to 10,000, got {self.trials}")
        if self.clean_per_class is not None and self.clean_per_class < 1:
            raise ValueError(f"clean_per_class must be 1 or more, got {self.clean_per_class}")
        require_share("min_confidence", self.min_confidence)
        for name, values in (("levels", levels), ("colors", self.colors)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not repeat a value, got {', '.join(map(str, values))}")
