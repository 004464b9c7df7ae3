"""Hooks of mkdocs: add the page of the API, and fill in the generated parts of the other pages."""

from typing import Any

from mkdocs.structure.files import File, Files

from tools import docs_api, docs_parts


def on_files(files: Files, config: Any) -> Files:
    """Add the API reference, which is not a file of the repository."""
    files.append(File.generated(config, "reference/api.md", content=docs_api.page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the generated parts of a page."""
    return docs_parts.render(markdown)
