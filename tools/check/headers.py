#!/usr/bin/env python3
"""Checks that headers compile alone.

Without --public: every header of ours, but for those that some .cc includes first: the build has checked them.
With --public: the headers of api/manta, with nothing of ours in the include path but api/.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import repository  # noqa: E402


def headers_included_first(paths):
    first = set()
    for path in paths:
        if path.endswith(".cc"):
            includes = repository.includes_of(repository.code_of(repository.read(path)))
            if includes:
                first.add(repository.resolve(includes[0][2]))
    return first


def compile_alone(header, arguments, folder):
    """None, or what the compiler said. The source has a stable name, so that ccache knows it again."""
    include = header.removeprefix("api/") if arguments.public else header
    source = os.path.join(folder, header.replace("/", "__") + ".cc")
    text = f'#include "{include}"\n#include "{include}"  // and again: it is guarded\n'
    if not os.path.exists(source) or open(source, encoding="utf-8").read() != text:
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
    command = [arguments.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-c", source, "-o", source + ".o",
               "-I" + os.path.join(repository.ROOT, "api")]
    if not arguments.public:
        command += ["-I" + repository.ROOT, "-isystem", os.path.join(arguments.build, "generated")]
    command += ["-isystem", "/usr/include/eigen3"]
    ccache = shutil.which("ccache")
    result = subprocess.run(([ccache] if ccache else []) + command, capture_output=True, text=True)
    return None if result.returncode == 0 else result.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="build folder")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)

    paths = repository.cpp_files()
    headers = [path for path in paths if path.endswith(".h")]
    if arguments.public:
        headers = [path for path in headers if path.startswith("api/manta/")]
    else:
        first = headers_included_first(paths)
        headers = [path for path in headers if path not in first and not path.startswith("api/manta/")]
    folder = os.path.join(arguments.build, "check_headers", "public" if arguments.public else "ours")
    os.makedirs(folder, exist_ok=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for header, error in zip(headers, pool.map(lambda header: compile_alone(header, arguments, folder), headers)):
            if error is not None:
                failed += 1
                print(f"{header}: does not compile alone\n{error}")
    print(f"headers: {len(headers)} compiled alone, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
