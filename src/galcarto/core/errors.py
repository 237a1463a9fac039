"""Errors in a user's input."""


class UserError(ValueError):
    """Invalid input; the message states what was found, what was expected and what to do."""
