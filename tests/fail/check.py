#!/usr/bin/env python3
"""Checks that one program does not compile, and that the compiler's first error says what its first line expects.

check.py PROGRAM.cc COMPILER [FLAGS...]     exit status 0: as expected

A program whose first line has no "EXPECT: " must compile.
"""
import subprocess
import sys


def main():
    program, command = sys.argv[1], sys.argv[2:]
    with open(program, encoding="utf-8") as source:
        first_line = source.readline().strip()
    expected = first_line.partition("EXPECT: ")[2]
    result = subprocess.run(command + ["-fsyntax-only", program], capture_output=True, text=True, timeout=120)
    errors = [line for line in result.stderr.splitlines() if " error: " in line]
    if not expected:
        print(result.stderr)
        return 0 if result.returncode == 0 else 1
    if result.returncode == 0:
        print(f"{program} compiles")
        return 1
    if not errors or expected not in errors[0]:
        print(f"expected as the first error: {expected}\n{result.stderr}")
        return 1
    print(errors[0])
    others = [error for error in errors if "Manta:" not in error]
    if others:
        print("also, which only confuses:\n" + "\n".join(others))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
