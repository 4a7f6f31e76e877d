"""What the tests of the owner's tool share: a call of its command line."""

import sys

import pytest

from sacheck import cli as command_line


@pytest.fixture
def cli(monkeypatch, capsys):
    """Call the command line; returns exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sacheck", *map(str, arguments)])
        capsys.readouterr()
        try:
            command_line.main()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def turned_down(cli):
    """Assert that a call is refused in one line that holds certain words."""

    def check(arguments: list[object], words: list[str]) -> None:
        code, _, error = cli(*arguments)
        one_line = error.startswith("Error: ") and error.count("\n") == 1
        assert code == 1 and one_line, (arguments, error)
        assert all(word in error for word in words), error

    return check
