"""A rendered page, as tests read it."""

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """What a test asks of a page: its headings, texts, links, data blocks and executable scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.data: dict[str, str] = {}
        self.texts: dict[str, list[str]] = {}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data.strip())
            tag, attributes = self.tags[-1]
            if self.open[-1] == "script" and tag == "script" and attributes.get("type") == "application/json":
                self.data[str(attributes["id"])] = data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def notes(self) -> list[str]:
        return [str(attributes) for attributes in self.all("p") if attributes.get("class") == "note"]


def is_whole(source: str) -> bool:
    """Whether every record was read and every section filled, as far as records are there."""
    return "does not have the expected form" not in source and "json cannot be used" not in source
