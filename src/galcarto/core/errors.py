"""Faults of a user's input, which end in one clear message."""


class UserError(ValueError):
    """Input that cannot be used: the message says what was found, what was expected and what to do."""
