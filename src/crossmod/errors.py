"""The only exception for errors that the user can fix."""


class InputError(Exception):
    """Input of crossmod cannot be used; the command line prints the message and exits with code 2.

    Args:
        subject: what the error is about, usually a file, a folder or an option.
        found: the input that was found.
        expected: the expected input.
        do: how to fix it, a full sentence.
    """

    def __init__(self, subject: object, *, found: str, expected: str, do: str):
        self.subject, self.found, self.expected, self.do = str(subject), found, expected, do
        super().__init__(f"{subject}: {found}. Expected: {expected}. {do}")
