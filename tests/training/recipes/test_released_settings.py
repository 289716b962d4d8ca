"""The recipes that are called published: what each takes over from the released code."""

import pytest

from training.config import OptimizerConfig
from training.optimizer import learning_rate
from training.recipes.registry import configure

PUBLISHED = ("cifar10", "cifar100", "mini_imagenet_32_released")


@pytest.mark.parametrize("recipe", PUBLISHED)
@pytest.mark.parametrize("level", [0.2, 0.4, 0.6, 0.8])
def test_published_runs_used_the_trained_mentor_with_a_constant_percentile(recipe: str, level: float) -> None:
    config = configure(recipe, level, {})
    for section in (config.mentornet, config.mentormix):
        assert (section.mentor, section.schedule, section.balance) == ("pd-closed", "released", False)
        assert (section.burn_in_percent, section.burn_in_epochs) == (10, 0)
    assert config.network.name == "wide_resnet32"


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_the_published_rate_falls_by_a_tenth_every_11718_and_three_quarter_steps(recipe: str) -> None:
    config = configure(recipe, 0.4, {}).optimizer
    rates = [learning_rate(config, step, 390, 512) for step in range(50_000)]
    falls = [step for step in range(1, 50_000) if rates[step] != rates[step - 1]]
    assert falls == [11_719, 23_438, 35_157, 46_875]  # multiples of 30·50,000/128, rounded up
    assert rates[46_875] == pytest.approx(0.1 * 0.9**4)


def test_a_decay_between_steps_is_exact() -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule="step", decay_every=0.1, decay=0.5)
    assert 1 // 0.1 == 9  # what a float would count
    assert learning_rate(config, 1, 10, 10) == 0.5**10
