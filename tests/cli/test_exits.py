"""Every command leaves with the same statuses, and says in one line why."""

import errno

import pytest

from dfd.cli import doctor, export, hub, import_weights, report, scan, serve
from dfd.cli.exits import INCOMPLETE, INTERRUPTED, REFUSED, plain_command
from dfd.core.errors import DfdError, Incomplete


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (DfdError("no run at x"), REFUSED, "error: no run at x"),
        (Incomplete("2 of 3 files were not judged"), INCOMPLETE, "note: 2 of 3"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/x"), REFUSED, "the disk is full at /out/x"),
        (OSError(errno.EROFS, "Read-only file system", "/out/x"), REFUSED, "/out/x: choose another folder"),
        (DfdError("no file \x1b[31mred"), REFUSED, "no file"),
    ],
)
def test_an_error_has_its_status_and_one_line(error, status, shown, capsys):
    @plain_command("help")
    def main(words):
        raise error

    assert main(["x"]) == status
    written = capsys.readouterr().err
    assert shown in written
    assert written.count("\n") == 1
    assert "\x1b" not in written


def test_a_fault_of_ours_keeps_its_traceback():
    @plain_command("help")
    def main(words):
        raise OSError(errno.ENOENT, "No such file", "x")

    with pytest.raises(OSError, match="No such file"):
        main([])


@pytest.mark.parametrize("command", [doctor, export, hub, import_weights, report, scan, serve])
def test_help_is_no_mistake(command, capsys):
    assert command.main(["--help"]) == 0
    assert "dfd-" in capsys.readouterr().out


@pytest.mark.parametrize("command", [export, hub, import_weights, scan, serve])
def test_a_mistake_in_the_command_is_refused(command, capsys):
    assert command.main(["--no-such-option"]) == REFUSED
    assert capsys.readouterr().err.startswith("error: ")
