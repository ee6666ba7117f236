"""Disks that are full or cannot be written, recognised whoever reports it: the system, torch, or a library."""

import errno

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_WRITING = (errno.EROFS, errno.EACCES, errno.EPERM)
TORCHS_WORDS = ("No space left", "failed writing file", "unexpected pos")


def is_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a full disk or quota."""
    return any(
        (isinstance(each, OSError) and each.errno in NO_SPACE) or any(words in str(each) for words in TORCHS_WORDS)
        for each in _chain(error)
    )


def is_forbidden(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a folder or file system that may not be written."""
    return any(isinstance(each, OSError) and each.errno in NO_WRITING for each in _chain(error))


def in_words(error: BaseException) -> str:
    """Return what happened to the disk and the next step, or nothing where the error is of another kind."""
    names = [str(each.filename) for each in _chain(error) if isinstance(each, OSError) and each.filename]
    where = f" at {names[0]}" if names else ""
    if is_full(error):
        return f"the disk is full{where}: free some room, or choose another folder; then give the same command again"
    if is_forbidden(error):
        return f"no permission to read or write{where}: choose another folder, or change its rights"
    return ""


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    return chain
