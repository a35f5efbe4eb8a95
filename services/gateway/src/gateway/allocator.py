"""How the C library's allocator treats what pictures need."""

import ctypes

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE_BYTES = 1024 * 1024


def return_large_blocks() -> None:
    """Let blocks of `LARGE_BYTES` and more go back to the system as soon as they are freed.

    By itself, glibc raises that size to 32 MiB when it sees large blocks being freed, and from then on keeps such
    blocks in one heap per thread: a process that decodes pictures in threads grows to a multiple of what it needs at a
    time. Does nothing where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
