"""A checkout of a few invented lines, and patches of them, as git writes patches without context."""

import hashlib
import re
import subprocess

INSIDE = "recognition/arcface_torch"
PINNED = {
    "train_v2.py": "import os\n\n\ndef main():\n    device = 'cuda'\n    return device\n\n\nparse()\nmain()\n",
    "dataset.py": "def load():\n    wait()\n    return 1\n\n\ndef wait():\n    pass\n",
    "partial_fc_v2.py": "class PartialFC_V2:\n    pass\n",
    "backbones/__init__.py": "",
}
SHA256 = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in PINNED.items()}
CHANGES = {
    "0001-flag.patch": ("seam", {"train_v2.py": ("parse()\n", "parse()\ndistil()\n")}),
    "0002-fixes.patch": (
        "host-bug",
        {"train_v2.py": ("import os\n\n", "import os\nfix()\n"), "dataset.py": ("def load", "fix()\ndef load")},
    ),
}


def git(folder, *arguments):
    identity = ("-c", "user.name=Name", "-c", "user.email=name@example.invalid", "-c", "init.defaultBranch=main")
    run = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def contents(folder):
    return {name: (folder / name).read_bytes().decode() for name in PINNED}


def after(*names):
    """Return the pinned files with these patches in."""
    files = dict(PINNED)
    for name in names:
        for file, (old, new) in CHANGES[name][1].items():
            files[file] = files[file].replace(old, new)
    return files


def write_series(work, patches):
    """Write the patches, each made against the pinned files."""
    git(work, "init", "-q")
    write(work / INSIDE, PINNED)
    git(work, "add", ".")
    git(work, "commit", "-qm", "pinned")
    for name, (reason, _) in CHANGES.items():
        write(work / INSIDE, after(name))
        diff = re.sub("(?m)^(@@ .* @@).*$", r"\1", git(work, "diff", "-U0", "--full-index"))
        (patches / name).write_text(f"Subject: [PATCH] {name[5:-6]}: does it\n\nReason: {reason}\n---\n{diff}")
        git(work, "checkout", "-q", ".")
    (patches / "series").write_text("# seam\n" + "\n".join(CHANGES) + "\n")
