"""The blocks of a page, and the command lines in them."""

import re

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "bash", "shell")


def blocks(text: str, *languages: str) -> list[str]:
    """Return the blocks of a Markdown text that are in one of these languages."""
    return [block for language, block in FENCE.findall(text) if language in languages]


def shell_lines(text: str) -> list[str]:
    """Return the lines of all shell blocks; what goes on after a backslash is one."""
    return [line for block in blocks(text, *SHELL) for line in block.replace("\\\n", " ").splitlines()]
