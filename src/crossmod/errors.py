"""Errors that are a matter for the user: an input that can be corrected, a result that is not to be trusted."""


class InputError(Exception):
    """Something given to crossmod cannot be used; the command line prints it and exits with code 2.

    Args:
        subject: what it is about, nearly always a file, a folder or an option.
        found: what was found.
        expected: what would have been right.
        do: what to do about it, a whole sentence.
    """

    def __init__(self, subject: object, *, found: str, expected: str, do: str):
        self.subject, self.found, self.expected, self.do = str(subject), found, expected, do
        super().__init__(f"{subject}: {found}. Expected: {expected}. {do}")


class Untrusted(Exception):  # noqa: N818 - the state of a result, as Trust is
    """A translation was written, its trust report has a warning, and `strict` was asked for; exit code 3."""
