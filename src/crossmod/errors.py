"""The one error that means: the user can mend this."""


class InputError(Exception):
    """Something given to crossmod cannot be used; the command line prints it and leaves with code 2.

    Args:
        subject: what it is about, nearly always a file, a folder or an option.
        found: what came.
        expected: what would have been right.
        do: what to do about it, a whole sentence.
    """

    def __init__(self, subject: object, *, found: str, expected: str, do: str):
        self.subject, self.found, self.expected, self.do = str(subject), found, expected, do
        super().__init__(f"{subject}: {found}. Expected: {expected}. {do}")
