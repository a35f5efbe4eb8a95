"""What a person may want to know of a picture that was taken all the same."""

from collections.abc import Callable

from shared.contracts.errors import Problem

Warn = Callable[[Problem], None]


def nobody(problem: Problem) -> None:
    """Tell nobody: the default of everything that warns."""


class Warnings:
    """Collects warnings; each code once, in the order in which they came."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}

    def __call__(self, problem: Problem) -> None:
        """Add a warning."""
        self._problems.setdefault(problem.code, problem)

    def all(self) -> tuple[Problem, ...]:
        """Return what was collected."""
        return tuple(self._problems.values())


ICC_IGNORED = Problem(
    code="icc_ignored",
    message="the picture's colour profile is broken, or made for other channels; its colours were taken for sRGB",
    fix="save the picture in sRGB if its colours are wrong",
)
DEPTH_REDUCED = Problem(
    code="depth_reduced", message="the picture has more than 8 bits per channel; they were scaled to 8"
)
ANIMATION_DROPPED = Problem(code="animation_dropped", message="the picture is animated; only its first frame was taken")


def transparency_flattened(background: str) -> Problem:
    """Return the warning that what was transparent shows that colour now."""
    return Problem(
        code="transparency_flattened",
        message=f"the output format has no transparency; what was transparent is {background} now",
        fix="choose the format png or webp, or another background",
    )
