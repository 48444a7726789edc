"""One protocol per file: `cakd eval NAME` runs the one in NAME.py; the command line imports all, so torch waits for `measure`."""
