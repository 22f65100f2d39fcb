"""The C++ files of the repository and what they include."""

import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("base", "rpc", "store", "runtime", "api", "ml", "tools", "examples", "tests")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^\s()\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def cpp_files():
    """Paths of our .h and .cc files, relative to the root: what git tracks or would track."""
    try:
        out = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.h", "*.cc"],
            cwd=ROOT, check=True, capture_output=True, text=True).stdout
        paths = [path for path in out.split("\0") if path]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive: no git
        paths = []
        for folder in FOLDERS:
            for parent, _, names in os.walk(os.path.join(ROOT, folder)):
                paths += [os.path.relpath(os.path.join(parent, name), ROOT) for name in names
                          if name.endswith((".h", ".cc"))]
    return sorted({path for path in paths
                   if path.split("/")[0] in FOLDERS and os.path.isfile(os.path.join(ROOT, path))})


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def code_of(text):
    """The text with comments and the contents of strings blanked, line numbers kept."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'R" and "include" in text[text.rfind("\n", 0, match.start()) + 1:match.start()]:
            return found
        return re.sub(r"[^\n]", " ", found)
    return COMMENT_OR_STRING.sub(blank, text)


def includes_of(code):
    """(line, '<' or '"', path) of each include."""
    return [(code.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)) for match in INCLUDE.finditer(code)]


def resolve(path):
    """The repository's file that an include names, or None: "base/ids.h", <manta/manta.h>."""
    for candidate in (path, "api/" + path):
        if os.path.isfile(os.path.join(ROOT, candidate)):
            return candidate
    return None
