"""The pages as the tests of docs/ read them: fenced blocks with the HTML comments that say how a
block is tested, links, anchors, and words in backticks.

A comment on the line before a block, or on a page, begins with `test: `:

    <!-- test: skip REASON -->          the block is not run; the test prints and counts the reason
    <!-- test: long [keys=K] -->        run by the label long alone (tools/test.sh --long)
    <!-- test: run keys=K -->           run with these keys behind each th_app DECK that trains
                                        (a,b: two keys); the label long runs it without them
    <!-- test: run code=N -->           the block's last command ends with that exit code
    <!-- test: output -->               before a block of output: its lines come from the block that
                                        was run last; … stands for anything
    <!-- test: before COMMAND -->       of the page: what its commands find already
    <!-- test: same as PAGE.md -->      of the page: a translation. Its commands, without their
                                        # comments, are those of the other page, which runs them
    <!-- test: other names A B -->      of the page: another program's names, which look like keys
                                        or paths of ours
A ```sh block without a comment is run as it stands. A page's blocks are run one after the other in
one folder.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

COMMENT = re.compile(r"^<!-- test: (.*) -->$")
ACTIONS = ("skip", "long", "run", "output")


class PageError(Exception):
    """What is wrong with a page's comments or blocks, with its line."""


@dataclass
class Block:
    line: int  # of the fence
    language: str
    text: str
    action: str = "run"
    keys: list = field(default_factory=list)
    code: int = 0
    reason: str = ""


@dataclass
class Page:
    path: Path
    blocks: list = field(default_factory=list)
    before: list = field(default_factory=list)
    same_as: str = ""
    other_names: set = field(default_factory=set)
    prose: list = field(default_factory=list)  # (number, line) outside of blocks

    def commands(self):
        return [block for block in self.blocks if block.language == "sh"]


def take_action(block, words, where):
    """What a comment says of the block behind it."""
    block.action, _, rest = words.partition(" ")
    if block.action not in ACTIONS:
        raise PageError(f"{where}: '{words}' is unknown; allowed {', '.join(ACTIONS)}")
    if block.action == "skip":
        block.reason = rest.strip()
        if not block.reason:
            raise PageError(f"{where}: skip needs its reason")
        return
    for option in rest.split():
        name, _, value = option.partition("=")
        if name == "keys" and value:
            block.keys = value.split(",")
        elif name == "code" and value.isdigit():
            block.code = int(value)
        else:
            raise PageError(f"{where}: '{option}' is unknown; allowed keys=K, code=N")


def close(page, block, comment, number):
    where = f"{page.path}:{number}"
    if comment is not None:
        take_action(block, comment, where)
    if (block.action == "output") != (block.language != "sh") and comment is not None:
        raise PageError(f"{where}: '{block.action}' does not fit a block of '{block.language}'")
    page.blocks.append(block)


def read_page(path, text=None):
    page = Page(path)
    comment = block = None
    for number, line in enumerate((path.read_text() if text is None else text).splitlines(), 1):
        if block is not None:
            if line.startswith("```"):
                close(page, block, comment, number)
                comment = block = None
            else:
                block.text += line + "\n"
            continue
        found = COMMENT.match(line)
        if line.startswith("```"):
            block = Block(number, line[3:].strip(), "")
        elif comment is not None:
            raise PageError(f"{path}:{number}: no block stands behind 'test: {comment}'")
        elif found is None:
            if line.startswith("<!--") and "test" in line:
                raise PageError(f"{path}:{number}: a comment is written <!-- test: WORDS -->")
            page.prose.append((number, line))
        elif found[1].startswith("before "):
            page.before.append(found[1][len("before ") :])
        elif found[1].startswith("same as "):
            page.same_as = found[1][len("same as ") :]
        elif found[1].startswith("other names "):
            page.other_names |= set(found[1].split()[2:])
        else:
            comment = found[1]
    if block is not None or comment is not None:
        raise PageError(f"{path}: its last block has no end, or its last comment no block")
    return page


def tested(page):
    """(what is said of a block, its text without # comments) of each block that is tested."""
    found = []
    for block in page.blocks:
        if block.language == "sh" or block.action == "output":
            lines = [re.sub(r"(^|\s+)#.*", "", line) for line in block.text.splitlines()]
            found.append(((block.action, block.keys, block.code), lines))
    return found


def slug(heading):
    """GitHub's anchor of a heading."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page):
    seen, found = {}, set()
    for _, line in page.prose:
        heading = re.match(r"#{1,6} +(.*)$", line)
        if heading is None:
            continue
        name = slug(heading[1])
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(name if count == 0 else f"{name}-{count}")
    return found


def links(page):
    """(line, target) of each link that is no address of the web."""
    for number, line in page.prose:
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if not re.match(r"[a-z]+:", target):
                yield number, target


def words(page):
    """(line, word) of what stands in backticks, and of the words of commands."""
    for number, line in page.prose:
        for code in re.findall(r"`([^`]+)`", line):
            for word in code.split():
                yield number, word
    for block in page.commands():
        for offset, line in enumerate(block.text.splitlines(), 1):
            for word in re.sub(r"(^|\s)#.*", "", line).split():
                yield block.line + offset, word
