#!/usr/bin/env python3
"""Merges static libraries into one whose symbols cannot clash with those of the program that links it.

Problem: a user's program may have an Abseil, a Cap'n Proto or an Eigen of its own, of another version or compiled with
other flags; two definitions of one symbol in one program are undefined behaviour that no linker reports.
So every symbol of these libraries is renamed, in them and in our objects: absl::Status becomes manta::absl::Status as
the linker sees it, uv_run becomes manta_uv_run. Symbols of namespace manta keep their names, as do std's and cereal's,
which a user's program shares with us.

Partial linking (ld -r) and hiding would do the same, but it merges all objects into one, which programs then carry
whole, and loses COMDAT groups, whose copies in the user's objects then cannot be dropped.
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys

# Root namespaces of what we link privately, from archives or from headers.
PRIVATE_NAMESPACES = ("absl", "kj", "capnp", "Eigen", "nlohmann", "spdlog", "fmt", "CLI")
# _ZN4absl..., _ZNK4absl..., _ZTIN4absl..., _ZGVZN4absl..., _ZThn16_N4absl...
ROOT = re.compile(
    r"^(?P<head>_Z(?:T[ISVTWHC]|GV|GR|Z|Th?n?\d*_|Tv\d*_n?\d*_|Tc(?:hn?\d+_|v\d+_n?\d+_){2})*N[rVK]*[RO]?)(?P<name>"
    + "|".join(f"{len(name)}{name}" for name in PRIVATE_NAMESPACES) + r")(?P<rest>.*)$")


def defined_symbols(archive):
    """Global symbols, and C++'s local ones: a COMDAT group is dropped by its signature, which may be local (..C5..)."""
    out = subprocess.run(["nm", "--defined-only", "--format=posix", archive], check=True, capture_output=True,
                         text=True).stdout
    for line in out.splitlines():
        words = line.split()
        if len(words) >= 2 and len(words[1]) == 1 and (words[1].isupper() or words[1] in "uvw" or
                                                       words[0].startswith("_Z")):
            yield words[0]


def new_name(symbol, is_foreign):
    """What `symbol` is renamed to, or None if it keeps its name. `is_foreign`: a dependency's archive defines it."""
    match = ROOT.match(symbol)
    if match:
        return f"{match['head']}5manta{match['name']}{match['rest']}"
    if is_foreign and not symbol.startswith(("_Z", "DW.ref.")):
        return "manta_" + symbol
    return None


def write_if_changed(path, text):
    if os.path.exists(path) and open(path, encoding="utf-8").read() == text:
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def rename(archive, folder, map_path, map_digest):
    """The renamed copy of `archive`; made anew only if it or the map has changed."""
    with open(archive, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest() + map_digest
    copy = os.path.join(folder, os.path.basename(archive))
    stamp = copy + ".stamp"
    if not (os.path.exists(copy) and os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == digest):
        subprocess.run(["objcopy", "--redefine-syms=" + map_path, archive, copy], check=True)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(digest)
    return copy


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--work", required=True, help="folder for what is between")
    parser.add_argument("--ours", nargs="+", required=True, help="our archives")
    parser.add_argument("--foreign", nargs="*", default=[], help="archives of libraries that we link privately")
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)

    renames = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for archives, is_foreign in ((arguments.ours, False), (arguments.foreign, True)):
            for symbols in pool.map(lambda archive: list(defined_symbols(archive)), archives):
                for symbol in symbols:
                    name = new_name(symbol, is_foreign)
                    if name is not None:
                        renames[symbol] = name
        map_text = "".join(f"{old} {new}\n" for old, new in sorted(renames.items()))
        map_path = os.path.join(arguments.work, "renames.txt")
        write_if_changed(map_path, map_text)
        map_digest = hashlib.sha256(map_text.encode()).hexdigest()
        copies = list(pool.map(lambda archive: rename(archive, arguments.work, map_path, map_digest),
                               arguments.ours + arguments.foreign))

    script = f"create {arguments.output}.new\n" + "".join(f"addlib {copy}\n" for copy in copies) + "save\nend\n"
    subprocess.run(["ar", "-M"], input=script, check=True, text=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ranlib", arguments.output + ".new"], check=True)
    os.replace(arguments.output + ".new", arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
