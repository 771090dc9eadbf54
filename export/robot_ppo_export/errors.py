"""The two ways in which this software says no, and their exit codes.

Every message is one sentence that names what was got, where, and what to do about it.
"""


class InputError(Exception):
    """Wrong input from a person: a file, an option, a name. Exit code 2."""

    exit_code = 2


class RefusedError(Exception):
    """A policy file or a robot that failed a check and will not be run. Exit code 3."""

    exit_code = 3
