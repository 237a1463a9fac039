"""Errors in a user's input, and what others say of theirs."""

import re


class UserError(ValueError):
    """Invalid input; the message states what was found, what was expected and what to do."""


def first_line(text: str) -> str:
    """First line of text in a response, without tags, for a message."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    words = re.sub(r"<[^>]*>", "\n", text).strip()
    return " ".join((words.splitlines() or ["nothing"])[0].split())[:200]
