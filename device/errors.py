"""Errors that reach a person: one sentence each, with the file or value and what to do next."""


class UserError(Exception):
    """Something the user can mend: a missing folder, a wrong file, an unknown key. Exit status 2."""

    exit_status = 2


class Refused(UserError):
    """The work was done and a gate said no (a conversion that changed the answers). Exit status 3."""

    exit_status = 3


def nearest(word: str, known: list[str]) -> str:
    """A hint ` (did you mean 'x'?)` for the known word closest to `word`, or an empty string."""
    from difflib import get_close_matches  # only on the way to an error message

    match = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
