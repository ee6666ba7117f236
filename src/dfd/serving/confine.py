"""Take the network, and the right to start programs, from a process that decodes strangers' files.

A seccomp filter (Linux, x86-64 and ARM64) refuses the system calls; it needs no rights, holds in containers, and cannot
be taken back. Where it cannot be had, the limits of time and memory remain, and the server's log says so.
"""

import ctypes
import logging
import platform
import struct
import sys

log = logging.getLogger("dfd")

# numbers of system calls; both machines name io_uring, which opens sockets without socket(), by 425
MACHINES = {
    "x86_64": (0xC000003E, 317, {"socket": 41, "connect": 42, "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101,
                                 "process_vm_writev": 311, "execveat": 322, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, 277, {"ptrace": 117, "socket": 198, "connect": 203, "execve": 221,
                                  "process_vm_writev": 271, "execveat": 281, "io_uring_setup": 425}),
}  # fmt: skip
LOAD, JUMP_EQUAL, JUMP_FROM, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCHITECTURE = 0, 4  # offsets of what a filter sees
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the latter: EPERM
OTHER_ABI = 0x40000000  # x32 numbers the same calls from here on
NO_NEW_PRIVILEGES, FILTER, ALL_THREADS = 38, 1, 1


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def confine() -> bool:
    """Refuse this process sockets and new programs, for good; return whether that holds."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return False
    architecture, seccomp, refused = MACHINES[platform.machine()]
    code = _filter(architecture, list(refused.values()))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p).value)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(seccomp, FILTER, ALL_THREADS, ctypes.byref(program)) == 0)


def _filter(architecture: int, refused: list[int]) -> bytes:
    """Return the program: another architecture or a refused number leads to the last line, anything else is allowed."""
    lines = [(LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, architecture), (RETURN, 0, 0, REFUSE), (LOAD, 0, 0, NUMBER)]
    lines.append((JUMP_FROM, len(refused) + 1, 0, OTHER_ABI))
    lines += [(JUMP_EQUAL, len(refused) - at, 0, number) for at, number in enumerate(refused)]
    lines += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
