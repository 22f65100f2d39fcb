#!/usr/bin/env python3
"""Checks what files include and use: layers, rooms, cycles, public headers, pure cores.

The rules are those of the design: section 3 (layers, rooms) and section 10 (what may not leak into a core).
Prints FILE:LINE: message for each violation; the exit status is 1 if there is one. A line that is right all the same
says NOLINT(layering) in a comment, and why.
"""

import fnmatch
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import repository  # noqa: E402

LAYERS = ["base", "rpc", "store", "runtime", "api", "ml"]
RUNTIME_ROOMS = ("head", "node", "worker")

# What an include looks like, and the files that may have it.
ROOMS = [
    ("libuv", r"uv\.h|uv/.*", ["base/*", "rpc/*"]),
    ("hiredis", r"hiredis/.*", ["runtime/head/*"]),
    ("Cap'n Proto", r"capnp/.*|kj/.*|.*\.capnp\.h", ["rpc/*"]),
    ("OpenSSL", r"openssl/.*", ["rpc/*"]),
    ("Eigen", r"Eigen/.*|unsupported/Eigen/.*", ["ml/*", "api/manta/ml/*", "examples/*", "tools/*", "tests/*"]),
    ("spdlog", r"spdlog/.*|fmt/.*", ["base/log.cc"]),
]
# Rooms of a single file; tests beside it may look in.
ONE_FILE_ROOMS = ("hiredis", "OpenSSL")

# What code says, the files that may not say it, and those of them that may.
WORDS = [
    ("absl::string_view does not leave base/: it is not std::string_view", r"\babsl::string_view\b", ["*"], ["base/*"]),
    ("mutexes are base::Mutex (base/mutex.h)", r"\bstd::(recursive_|shared_|timed_)?mutex\b|\bstd::condition_variable\w*",
     ["rpc/*", "store/*", "runtime/*", "api/*.cc", "ml/*"], ["*_test.cc", "*_fixture.h"]),
]

# What a pure core may not say.
CORE_WORDS = [
    ("an unordered container (its order differs between processes)",
     r"\bunordered_\w+|\b(flat|node)_hash_(map|set)\b|\bstd::hash\b"),
    ("a clock (now is an argument)",
     r"\b(steady|system|high_resolution)_clock\b|\bSystemClock\b|\bclock_gettime\b|\bgettimeofday\b|\bClock\s*[*&]"
     r"|\babsl::Now\b|\btime\s*\(\s*(NULL|nullptr|0)?\s*\)|->Now\(\)|\.Now\(\)"),
    ("a random source (a seed or an Rng is an argument)",
     r"\brandom_device\b|\bmt19937\w*|\bs?rand\s*\(|\bgetrandom\b|\bBitGen\b|<random>"),
    ("a thread or a lock", r"\bstd::(thread|jthread|mutex|condition_variable)\b|\bMutex(Lock)?\b|\bthread_local\b"),
    ("an event loop, socket or file", r"\bEventLoop\b|\bUniqueFd\b|\b(if|of|f)stream\b|\buv_\w+"),
    ("an order of addresses (they differ between runs)", r"\b(std::)?(map|set|btree_map|btree_set)<\s*(const\s+)?[\w:]+\s*\*"),
]

STANDARD_HEADERS = set("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits clocale
cmath compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring
ctime cuchar cwchar cwctype cxxabi.h deque exception execution filesystem format forward_list fstream functional future
initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource mutex new
numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex
source_location span sstream stack stdexcept stop_token streambuf string string_view strstream syncstream system_error
thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
""".split())


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


class Checker:
    def __init__(self):
        self.violations = []
        self.code = {}
        self.lines = {}  # path -> lines, with their comments
        self.includes = {}  # path -> [(line, bracket, include)]
        self.cores = self.listed_cores()

    def listed_cores(self):
        """Stems in tools/check/cores.txt: runtime/head/actors stands for its .h and its .cc."""
        lines = repository.read("tools/check/cores.txt").splitlines()
        return {line.split("#")[0].strip() for line in lines} - {""}

    def run(self):
        for path in repository.cpp_files():
            text = repository.read(path)
            self.code[path] = repository.code_of(text)
            self.lines[path] = text.split("\n")
            self.includes[path] = repository.includes_of(self.code[path])
        for path in self.code:
            self.check_layer(path)
            self.check_rooms(path)
            self.check_public_header(path)
            self.check_words(path)
            self.check_core(path)
        self.check_one_file_rooms()
        self.check_cores_exist()
        self.check_cycles()
        return sorted(self.violations)

    def fail(self, path, line, message):
        if not any("NOLINT(layering)" in text for text in self.lines.get(path, [])[line - 1:line]):
            self.violations.append((path, line, message))

    # A file includes its own folder or one below it.
    def check_layer(self, path):
        folder = path.split("/")[0]
        for line, bracket, include in self.includes[path]:
            target = repository.resolve(include)
            if target is None:
                ours = "/" not in include or include.split("/")[0] in repository.FOLDERS + ("manta",)
                if bracket == '"' and ours and not include.endswith(".capnp.h"):
                    self.fail(path, line, f'"{include}" is no file of the repository (paths start at its root)')
                continue
            to = target.split("/")[0]
            if folder in LAYERS and (to not in LAYERS or LAYERS.index(to) > LAYERS.index(folder)):
                self.fail(path, line, f"upward include: {folder}/ may not include {target}")
            if folder == "ml" and to not in ("ml", "api", "base"):
                self.fail(path, line, f"ml/ uses api/ only, not {target}")
            if folder == "ml" and to == "api" and not target.startswith("api/manta/"):
                self.fail(path, line, f"ml/ uses the public headers only, not {target}")
            if folder == "examples" and to != "examples" and not target.startswith("api/manta/"):
                self.fail(path, line, f"an example uses the public headers only, not {target}")
            if folder == "examples" and target.startswith("api/manta/internal/"):
                self.fail(path, line, f"an example does not use {target}")
            self.check_runtime_rooms(path, line, target)

    # head/, node/ and worker/ meet in the schemas; what they share knows none of them.
    def check_runtime_rooms(self, path, line, target):
        if not (path.startswith("runtime/") and target.startswith("runtime/")):
            return
        to = target.split("/")[1]
        if to in RUNTIME_ROOMS and to != path.split("/")[1]:
            self.fail(path, line, f"{target} belongs to {to}/ alone")

    def check_rooms(self, path):
        for line, _, include in self.includes[path]:
            for name, pattern, allowed in ROOMS:
                if re.fullmatch(pattern, include) and not matches(path, allowed):
                    self.fail(path, line, f"{name} stays in {', '.join(allowed)}: <{include}>")

    def check_one_file_rooms(self):
        for name, pattern, allowed in ROOMS:
            if name not in ONE_FILE_ROOMS:
                continue
            users = [path for path, includes in self.includes.items()
                     if matches(path, allowed) and not path.endswith("_test.cc")
                     and any(re.fullmatch(pattern, include) for _, _, include in includes)]
            for path in users[1:]:
                self.fail(path, 1, f"{name} stays in one file, {users[0]}")

    def check_public_header(self, path):
        if not (path.startswith("api/manta/") and path.endswith(".h")):
            return
        for line, _, include in self.includes[path]:
            allowed = include in STANDARD_HEADERS or include.startswith(("manta/", "cereal/"))
            if path.startswith("api/manta/ml/"):
                allowed = allowed or include.startswith("Eigen/") or include == "immintrin.h"
            if not allowed:
                self.fail(path, line, f"a public header includes the standard library, cereal and manta only: <{include}>")

    def check_words(self, path):
        for message, pattern, where, but in WORDS:
            if matches(path, where) and not matches(path, but):
                self.find(path, pattern, message)

    def is_core(self, path):
        stem = re.sub(r"\.(h|cc)$", "", path)
        return stem.endswith("_core") or stem in self.cores

    def check_core(self, path):
        if not self.is_core(path):
            return
        for what, pattern in CORE_WORDS:
            self.find(path, pattern, f"a pure core may not use {what}")

    def check_cores_exist(self):
        for stem in sorted(self.cores):
            if stem + ".h" not in self.code and stem + ".cc" not in self.code:
                self.fail("tools/check/cores.txt", 1, f"{stem}.h and {stem}.cc do not exist")

    def find(self, path, pattern, message):
        for match in re.finditer(pattern, self.code[path]):
            line = self.code[path].count("\n", 0, match.start()) + 1
            self.fail(path, line, f"{message}: {match.group(0).strip()}")

    # Depth first; a file met again while it is still on the way down closes a cycle.
    def check_cycles(self):
        done, on_path = set(), []

        def visit(path):
            if path in done:
                return
            if path in on_path:
                cycle = on_path[on_path.index(path):] + [path]
                self.fail(path, 1, "include cycle: " + " -> ".join(cycle))
                return
            on_path.append(path)
            for _, _, include in self.includes.get(path, []):
                target = repository.resolve(include)
                if target is not None:
                    visit(target)
            on_path.pop()
            done.add(path)

        for path in sorted(self.includes):
            visit(path)


def main():
    checker = Checker()
    violations = checker.run()
    for path, line, message in violations:
        print(f"{path}:{line}: {message}")
    print(f"layering: {len(checker.code)} files, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
