"""A goal of a task beside what was measured."""

from typing import Any, NamedTuple


class Goal(NamedTuple):
    """A goal, and what was measured."""

    name: str
    value: float
    least: float | None
    most: float | None

    def met(self) -> bool:
        """Whether the value is within the goal; a value that is not defined is not."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def row(self) -> dict[str, Any]:
        """As the report takes it."""
        ends = [f"{end:g}" for end in (self.least, self.most) if end is not None]
        text = " to ".join(ends) if len(ends) == 2 else f"{ends[0]} or {'more' if self.most is None else 'less'}"
        return {"what": self.name, "goal": text, "found": self.value, "met": self.met()}
