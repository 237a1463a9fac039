"""Web pages: the report and the explorer."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def fill(template: str, **values: Any) -> str:
    """Fill in a template of this folder."""
    loader = PackageLoader("galcarto", "pages")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(**values)
