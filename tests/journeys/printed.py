"""The commands of a section of README.md, and a shell that runs them as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.markdown_blocks import shell_lines

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def printed(heading: str) -> list[str]:
    """Return the commands of a section's shell blocks, without comments; all lines of a command are one."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section is not None, f"README.md has no section {heading}"
    return [command for line in shell_lines(section[1]) if (command := re.sub(r"\s+#.*", "", line).strip())]


class Shell:
    """Runs command lines in a folder, with nothing of the user's but the installed programs.

    Args:
        folder: where a newcomer stands; also the home folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
        self.environment = {"PATH": programs, "HOME": str(folder), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}

    def run(self, command: str) -> str:
        """Return what a command prints; it must succeed."""
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}"
        assert "Traceback" not in ran.stdout, f"{command}\n{ran.stdout}"
        return ran.stdout
