#!/usr/bin/env python3
"""Checks a Spin model exhaustively; ctest runs it.

check_model.py MODEL.pml pass [NAME=VALUE ...]   no error in the whole state space
check_model.py MODEL.pml fail [NAME=VALUE ...]   an assertion or an end state must fail (broken variants)
"""
import re
import subprocess
import sys
import tempfile

DEPTH_MAX = 100_000


def run(command, directory):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def check(model, expected, definitions):
    with tempfile.TemporaryDirectory() as directory:
        with open(model, encoding="utf-8") as source, open(f"{directory}/model.pml", "w", encoding="utf-8") as copy:
            copy.writelines(f"#define {d.partition('=')[0]} {d.partition('=')[2]}\n" for d in definitions)
            copy.write(source.read())
        # A broken variant fails soon: its search is shorter than an optimising compiler's run.
        optimised = "-O1" if expected == "pass" else "-O0"
        for command in (["spin", "-a", "model.pml"], ["cc", optimised, "-w", "-DSAFETY", "-o", "pan", "pan.c"]):
            code, output = run(command, directory)
            if code != 0 or "error:" in output.lower():
                return f"{' '.join(command)}: {output}"
        _, output = run(["./pan", f"-m{DEPTH_MAX}"], directory)
        print(output)
        errors = re.search(r"errors: (\d+)", output)
        if errors is None or "max search depth too small" in output:
            return "the search did not end"
        found = int(errors.group(1)) > 0
        if expected == "pass" and found:
            _, trail = run(["spin", "-t", "-p", "-g", "model.pml"], directory)
            return f"the model has an error:\n{trail}"
        if expected == "fail" and not found:
            return "the broken variant passed: the model proves nothing about what it leaves out"
    return None


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("pass", "fail"):
        sys.exit(__doc__)
    problem = check(sys.argv[1], sys.argv[2], sys.argv[3:])
    if problem is not None:
        sys.exit(problem)


main()
