"""A page read as a tree, strictly: what is opened must be closed, in order."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "img", "input", "br", "hr", "link", "wbr"}
RAW = {"script", "style"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    parent: "Element | None"
    children: list["Element"] = field(default_factory=list)
    parts: list["str | Element"] = field(default_factory=list)

    def all(self, *tags: str) -> list["Element"]:
        """The elements below, in the order of the page; of some kinds, or all."""
        found = []
        for child in self.children:
            found += [child] if not tags or child.tag in tags else []
            found += child.all(*tags)
        return found

    def named(self, name: str) -> list["Element"]:
        """The elements below of a class of the style sheet."""
        return [e for e in self.all() if name in (e.attributes.get("class") or "").split()]

    def by_id(self, name: str) -> "Element":
        (found,) = (e for e in self.all() if e.attributes.get("id") == name)
        return found

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces; scripts and styles are read by nobody."""
        return " ".join("".join(self._words()).split())

    def _words(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            elif part.tag not in RAW:
                yield from part._words()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.at = Element("page", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says an attribute twice: {attrs}"
        new = Element(tag, dict(attrs), self.at)
        self.at.children.append(new)
        self.at.parts.append(new)
        if tag not in VOID:
            self.at = new

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.parts.append(data)

    @classmethod
    def read(cls, page: str) -> Self:
        reader = cls()
        reader.feed(page)
        reader.close()
        assert reader.at is reader.root, f"<{reader.at.tag}> is never closed"
        return reader


def tree(page: str) -> Element:
    """Raises AssertionError where tags do not match."""
    return _Reader.read(page).root
