"""HTML pages that need no network: one template each over a common one."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("dfd.evaluation.pages", "."), autoescape=True, trim_blocks=True)


def render(page: str, figures: list[tuple[str, str]], **values: Any) -> str:
    """Return a page; figures are titles and drawings of ours."""
    drawn = [(title, Markup(figure)) for title, figure in figures]
    return _environment().get_template(f"{page}.html.j2").render(figures=drawn, **values)
