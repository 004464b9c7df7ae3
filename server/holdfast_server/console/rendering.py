"""The templates: everything in them is escaped, and a name that a page does not give is an error."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast_server import SERVER_VERSION
from holdfast_server.console import links, shown
from holdfast_server.console.preview.brief import brief
from holdfast_server.console.settings import TRACE_ID, Settings
from holdfast_server.console.static_files import StaticFiles


def environment(settings: Settings, static: StaticFiles) -> Environment:
    """Return the environment of the templates of one console."""
    made = Environment(
        loader=PackageLoader("holdfast_server.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in ("printable", "short_id", "size", "exact_size", "age", "exact_time", "duration"):
        made.filters[name] = getattr(shown, name)

    made.filters["brief"] = brief

    def trace_url(trace_id: str) -> str:
        """Return the URL of a trace; "" if there is none."""
        is_id = len(trace_id) == 32 and trace_id.isalnum() and trace_id.isascii()
        return settings.trace_url_template.replace(TRACE_ID, trace_id) if is_id else ""

    made.globals |= {
        "links": links,
        "static": static.url,
        "trace_url": trace_url,
        "allow_changes": settings.allow_changes,
        "target": settings.shown_target or settings.target,
        "version": SERVER_VERSION,
    }
    return made


def rendered(templates: Environment, name: str, values: dict[str, Any]) -> str:
    """Render a template."""
    text: str = templates.get_template(name).render(values)
    return text
