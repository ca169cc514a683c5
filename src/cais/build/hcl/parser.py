"""HCL's native syntax (hashicorp/hcl, hclsyntax/spec.md): bodies, blocks, attributes."""

from __future__ import annotations

from cais.build.hcl.expressions import Expressions
from cais.build.hcl.syntax import Attribute, Block, Body, Source


def parse(name: str, text: str) -> Body:
    """Raises Invalid, with the line."""
    parser = _Parser(Source(name, text.removeprefix("\ufeff").replace("\r\n", "\n")))
    body = parser.body("")
    parser.at_end()
    return body


class _Parser(Expressions):
    def body(self, end: str) -> Body:
        """Up to ``end``, which is left where it is."""
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        with self.deeper(), self.lines(True):
            while True:
                self.blank(newlines=True)
                if self.at >= len(self.text) or (end and self.peek(end)):
                    return Body(attributes, blocks)
                at = self.at
                name = self.identifier("An argument or block definition is required here.")
                self.blank()
                if self.peek("=") and not self.peek("=="):
                    self.at += 1
                    if name in attributes:
                        raise self.error(f'The argument "{name}" was already set.', at)
                    attributes[name] = Attribute(name, self.expression(), self.source, at)
                else:
                    blocks.append(self._block(name, at))
                self._end_of_line(end)

    def _block(self, kind: str, at: int) -> Block:
        labels: list[str] = []
        while True:
            self.blank()
            if self.peek('"'):
                labels.append(self.plain_string())
            elif self.is_identifier():
                labels.append(self.identifier())
            else:
                break
        if not self.take("{"):
            raise self.error("Invalid block definition: a block is KIND LABELS { .. }, an argument NAME = VALUE.")
        self.blank()
        one_line = not self.peek("\n")
        start = self.at
        body = self.body("}")
        if not self.take("}"):
            raise self.error("Unclosed configuration block: there is no closing brace for it.", at)
        if one_line and (len(body.attributes) > 1 or body.blocks or "\n" in self.text[start : self.at]):
            raise self.error(
                "Invalid single-argument block definition: it has one argument and its closing brace on its line.",
                start,
            )
        return Block(kind, labels, body, self.source, at)

    def _end_of_line(self, end: str) -> None:
        self.blank()
        if self.at < len(self.text) and not self.peek("\n") and not (end and self.peek(end)):
            raise self.error("Missing newline after argument or block.")
