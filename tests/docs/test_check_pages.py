"""Each build check has a page, whose bad example triggers it and nothing else, and whose good one triggers nothing."""

from __future__ import annotations

import re

import pytest

from cais.build.checks.report import Checks
from cais.build.checks.rules import PAGES, RULES
from cais.build.dockerfile.parser import parse
from cais.build.ignore import Ignore
from cais.build.lower import lower
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform
from integration.command import PROJECT

AMD64 = Platform("linux", "amd64")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def base(reference: str, platform: Platform) -> ImageConfig:
    if "arm64" in reference:
        platform = Platform("linux", "arm64")
    config = {"Env": ["PATH=/usr/bin"]}
    return ImageConfig({**platform.to_json(), "config": config, "rootfs": {"type": "layers", "diff_ids": []}})


def found(text: str, ignore: Ignore) -> list[str]:
    dockerfile = parse(text)
    # Every ARG above FROM may be given.
    names = [name for instruction in dockerfile.globals for name, default in instruction.pairs if default is None]
    checks = Checks.of(dockerfile, {}, ignore.ignores)
    lower(
        dockerfile, base=base, platform=AMD64, build_platform=AMD64, build_args=dict.fromkeys(names, "1"),
        checks=checks, every_stage=True,
    )  # fmt: skip
    return [warned.code for warned in checks.heeded]


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    pages = {path.stem for path in (PROJECT / PAGES).glob("*.md")} - {"README"}
    assert pages == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_the_examples_of_the_page_hold(name: str) -> None:
    rule = RULES[name]
    text = (PROJECT / rule.page).read_text()
    assert text.startswith(f"# {name}\n\n> {rule.description}\n")
    assert ("An experimental rule" in text) == rule.experimental
    blocks: dict[str, str] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        for kind, content in BLOCK.findall(section):
            blocks[section.split("\n")[0] if kind == "dockerfile" else kind] = content
    ignore = Ignore.parse(blocks.pop("dockerignore", ""))
    assert list(blocks) == ["Bad", "Good"]
    assert found(blocks["Bad"], ignore) == [name]
    assert found(blocks["Good"], ignore) == []


def test_the_index_describes_every_rule() -> None:
    index = (PROJECT / PAGES / "README.md").read_text()
    for rule in RULES.values():
        experimental = " (experimental)" if rule.experimental else ""
        assert f"| [{rule.name}]({rule.name}.md){experimental} | {rule.description} |\n" in index
