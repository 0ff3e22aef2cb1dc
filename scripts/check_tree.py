"""Fail when a file names a package registry's host, or a path of one particular machine.

Both work where they were written and nowhere else. Patterns are spelled so that this file has none.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "a package registry's host": re.compile(
        rb"py[p]i[.]org|python[h]osted|np[m]js[.](org|com)|de[b][.]debian|(proxy|sum)[.]go[l]ang|cra[t]es[.]io"
        rb"|repo1?[.]mav[e]n"
    ),
    "a path of one machine": re.compile(
        rb"(?<![\w.])/(w[o]rk/(main|steering|shared|[.]library)|ro[o]t/|ho[m]e/\w)"
    ),
}


def files() -> list[Path]:
    """Return what is, or is about to be, in git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def main() -> int:
    """Return 1 when something was found, having said what and where."""
    found = 0
    for path in files():
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            for what, pattern in FORBIDDEN.items():
                if pattern.search(line):
                    text = line[:120].decode(errors="replace").strip()
                    print(f"{path.relative_to(ROOT)}:{number}: {what}: {text}", file=sys.stderr)
                    found = 1
    return found


if __name__ == "__main__":
    raise SystemExit(main())
