"""A page, parsed, and what goes on one."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from vaeudf.pages.query_page import Result

HOSTILE = '<script>alert("1")</script>'


def image_file(colour, kind="PNG", size=(40, 30)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def result(*found, query_id="wish", z=(0.5, -1.25), decoded=None, parts=()):
    return Result(query_id, np.array(z), decoded, found, parts=parts)


class Page(HTMLParser):
    """Collects the tags with their attributes, and the text below every class."""

    VOID = ("meta", "img", "br")

    def __init__(self, path):
        super().__init__()
        self.source = Path(path).read_text("utf-8")
        self.tags, self.texts, self.open = [], {}, []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append((tag, attributes.get("class", tag), []))

    def handle_endtag(self, tag):
        name, label, words = self.open.pop()
        assert name == tag
        text = " ".join("".join(words).split())
        self.texts.setdefault(label, []).append(text)
        if self.open:
            self.open[-1][2].append(f" {text} ")

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)

    def pictures(self):
        """The pictures behind the img tags, and their alt texts."""
        found = []
        for tag, attributes in self.tags:
            if tag == "img":
                head, data = attributes["src"].split(",")
                picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
                assert head == f"data:image/{picture.format.lower()};base64"
                found.append((attributes["alt"], picture.convert("RGB")))
        return found
