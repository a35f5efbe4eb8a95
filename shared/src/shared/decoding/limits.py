"""What a picture may cost, and the errors of those that cost more."""

import resource
import sys
from dataclasses import dataclass

from shared.contracts.errors import InvalidInputError, invalid

MEMORY_IS_LIMITED = sys.platform == "linux"  # elsewhere RLIMIT_AS is missing, or is not heeded


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes` of address space for a process; `cpu_seconds` of processor time for a picture (whole seconds)."""

    memory_bytes: int
    cpu_seconds: int


def limit_memory(limits: Limits) -> None:
    """Have allocations of this process fail beyond the limit, where the system can; not above the limit that it has."""
    if MEMORY_IS_LIMITED:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_at_most(limits.memory_bytes, hard), hard))


def allow_next_picture(limits: Limits) -> None:
    """Have this process killed by SIGXCPU when it has used the processor for the limit, and up to a second, from now.

    The system counts a process's processor time from its beginning: the limit moves with each picture.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_at_most(used + limits.cpu_seconds + 1, hard), hard))


def lift_cpu_limit() -> None:
    """Let this process use the processor as long as it wants, until the next picture: what one left is no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def memory_exceeded(limits: Limits) -> InvalidInputError:
    """Return the error of a picture that needs more memory."""
    return invalid(
        "resource_limit",
        f"the picture needs more memory than the {limits.memory_bytes // 2**20} MiB that it may have",
        where="memory",
        fix="supply a smaller picture, or ask for less output; who runs Weft can raise WEFT_DECODE_MEMORY_BYTES",
    )


def cpu_exceeded(limits: Limits) -> InvalidInputError:
    """Return the error of a picture that needs more processor time."""
    return invalid(
        "resource_limit",
        f"the picture needs more processor time than the {limits.cpu_seconds} s that it may have",
        where="cpu",
        fix="supply a smaller or simpler picture, or choose another format; who runs Weft can raise"
        " WEFT_DECODE_CPU_SECONDS",
    )


def broke_down(limits: Limits, how: str) -> InvalidInputError:
    """Return the error of a picture whose process died otherwise; `how` tells of what.

    Some codecs take memory for granted: what kills them is most often the limit.
    """
    return invalid(
        "resource_limit",
        f"the codec broke down on the picture ({how}), as some do for want of memory; it may have"
        f" {limits.memory_bytes // 2**20} MiB",
        where=how,
        fix="supply a smaller picture, choose another format, or save the picture anew with another program",
    )


def _at_most(limit: int, hard: int) -> int:
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)
