"""Learning rates as functions of progress: YOLOX's cosine and Re-ID's single step."""

import math


def yolox_warm_cosine(
    step: int,
    *,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: int,
    flat_epochs: int,
    peak: float,
    minimum_ratio: float,
) -> float:
    """Learning rate of a step, from 0: quadratic warm-up, cosine, then the minimum.

    It rises from 0 to `peak` over the first `warmup_epochs`, falls along half a cosine to `minimum_ratio` *
    `peak`, and stays there for the last `flat_epochs`. After "yoloxwarmcos" of Megvii/YOLOX@6ddff48,
    yolox/utils/lr_scheduler.py. A run too short for all three gives up the cosine first, then the flat end.

    >>> run = dict(steps_per_epoch=10, epochs=8, warmup_epochs=1, flat_epochs=1)
    >>> steps = (0, 5, 10, 40, 70, 79)
    >>> [round(yolox_warm_cosine(step, **run, peak=1.0, minimum_ratio=0.05), 3) for step in steps]
    [0.0, 0.25, 1.0, 0.525, 0.05, 0.05]
    """
    warm, flat_from = warmup_epochs * steps_per_epoch, (epochs - flat_epochs) * steps_per_epoch
    minimum = peak * minimum_ratio
    if step < warm:
        return peak * (step / warm) ** 2
    if step >= flat_from:
        return minimum
    fallen = (step - warm) / (flat_from - warm)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * fallen)) / 2


def stepped(epoch: int, *, initial: float, factor: float, milestone: int) -> float:
    """Learning rate of an epoch, from 0: `initial`, times `factor` from `milestone` on.

    The paper's Re-ID (section 4.1) trains 20 epochs at 2e-4, reduced to 2e-5 "at the 10th epoch".
    Choice: that is epoch 10 counted from 0, after ten epochs at the initial rate.

    >>> [stepped(epoch, initial=2e-4, factor=0.1, milestone=10) for epoch in (0, 9, 10)]
    [0.0002, 0.0002, 2e-05]
    """
    return initial * factor if epoch >= milestone else initial
