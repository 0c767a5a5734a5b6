"""The one error that means: the user can mend this."""


class InputError(Exception):
    """Something given to crossmod cannot be used; the command line prints it and leaves with code 2.

    Args:
        subject: what it is about, nearly always a file, a folder or an option.
        found: what came.
        wanted: what would have been right.
        do: what to do about it, a whole sentence.
    """

    def __init__(self, subject: object, *, found: str, wanted: str, do: str):
        self.subject, self.found, self.wanted, self.do = str(subject), found, wanted, do
        super().__init__(f"{subject}: {found}. Wanted: {wanted}. {do}")
