#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not: who may include whom, names, and what a room must hold.

usage: check_arrows.py ROOT      prints one line a violation; exit 0 none, 1 some, 2 trouble
"""

import pathlib
import re
import sys

# Room: the rooms that it may see (docs/index.md). A test checks that this table and the tree agree.
CORE = {
    "base": [],
    "simd": ["base"],
    "parallel": ["base"],
    "order": ["base"],
    "math": ["base", "simd"],
    "random": ["base"],
    "checksum": ["base"],
    "fingerprint": ["base", "order"],
    "state": ["base", "checksum"],
    "record": ["base", "checksum", "fingerprint", "state"],
    "safetensors": ["base", "state"],
    "template": ["base", "order"],
    "matmul": ["base", "simd", "parallel", "order"],
    "row_sum": ["base", "simd", "parallel", "order"],
    "elementwise": ["base", "simd", "parallel"],
    "optimizer": ["base", "simd", "parallel", "order"],
    "reduce": ["base", "simd", "parallel", "order"],
    "norm": ["base", "simd", "parallel", "order"],
    "embedding": ["base", "simd", "parallel", "order"],
    "dropout": ["base", "simd", "parallel", "random"],
    "softmax": ["base", "simd", "parallel", "order", "math"],
    "cross_entropy": ["base", "simd", "parallel", "order", "math", "softmax"],
    "attention": ["base", "simd", "parallel", "order", "math"],
    "activation": ["base", "simd", "parallel", "math"],
    "loss": ["base", "simd", "parallel", "order", "math"],
    "conv": ["base", "simd", "parallel", "order"],
    "pool": ["base", "simd", "parallel", "order"],
    "torch": ["base", "simd", "parallel", "order", "math", "random", "checksum", "fingerprint", "state", "record",
              "matmul", "row_sum", "elementwise", "optimizer", "reduce", "norm", "embedding", "dropout", "softmax",
              "cross_entropy", "attention", "activation", "loss", "conv", "pool"],
}
LOADER_SEES = ["base", "random", "checksum", "fingerprint", "state"]
LOADER = {
    "dataset": [],
    "format": ["dataset"],
    "transform": ["dataset"],
    "order": [],
    "sampler": ["order"],
    "batch": ["dataset", "sampler"],
    "state": [],
    "prefetch": ["dataset", "format", "transform", "order", "sampler", "batch", "state"],
    "torch": ["dataset", "format", "transform", "order", "sampler", "batch", "state", "prefetch"],
}
LOADER_TORCH_SEES = LOADER_SEES + ["record", "torch"]

# Words that stand for a suffix of the closed set, or for no thought at all.
REFUSED_SUFFIXES = {
    "impl": "_internal, or the plain name",
    "gpu": "_cuda",
    "kernel": "_cuda",
    "kernels": "_cuda",
    "unittest": "_test",
    "tests": "_test",
    "benchmark": "_bench",
    "reference": "_ref",
    "naive": "_ref",
    "detail": "_internal",
    "private": "_internal",
    "util": "a name that says what it does",
    "utils": "a name that says what it does",
    "helper": "a name that says what it does",
    "helpers": "a name that says what it does",
    "misc": "a name that says what it does",
}
HEADER_SUFFIXES = ("_ref", "_inl", "_vectors", "_internal")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')

TORCH_HEADERS = re.compile(r"^(torch|ATen|c10|caffe2)/")
CUDA_HEADERS = re.compile(r"^(cuda|cublas|cuda_runtime|cub/|curand)")
RANDOMNESS = re.compile(r"\bstd::(shuffle|random_shuffle|sample|default_random_engine|random_device|\w+_distribution)\b")
OUTPUT = re.compile(r"\bstd::(cout|cerr|clog|exit|abort|quick_exit|terminate)\b|\b(?:std::)?(printf|fprintf|puts|perror)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


class File:
    def __init__(self, root, path):
        self.path = path.relative_to(root)
        self.top = self.path.parts[0]
        self.stem, self.extension = path.stem, path.suffix
        self.text = path.read_text()
        self.code = COMMENT.sub(" ", self.text)
        self.includes = [name for _, name in INCLUDE.findall(self.code)]
        self.words = STRING.sub('""', self.code)

    @property
    def room(self):
        """("lockstep", "record") for lib/lockstep/record/…, None outside the rooms."""
        known = {("lib", "lockstep"): "lockstep", ("loader", "lockstep_loader"): "lockstep_loader"}
        if len(self.path.parts) < 4 or self.path.parts[:2] not in known:
            return None
        return known[self.path.parts[:2]], self.path.parts[2]

    @property
    def is_test(self):
        return self.stem.endswith("_test") or self.top == "tests"

    @property
    def is_bench(self):
        return self.stem.endswith("_bench") or self.top == "bench"


def rooms_seen_by(room):
    """The include folders that the code of a room may name."""
    namespace, name = room
    if namespace == "lockstep":
        return {("lockstep", other) for other in CORE.get(name, []) + [name]}
    core = LOADER_TORCH_SEES if name == "torch" else LOADER_SEES
    own = {("lockstep_loader", other) for other in LOADER.get(name, []) + [name]}
    return own | {("lockstep", other) for other in core}


def included_room(include):
    parts = include.split("/")
    return (parts[0], parts[1]) if parts[0] in ("lockstep", "lockstep_loader") and len(parts) > 2 else None


def check_arrows(file):
    """A test or benchmark may look at more rooms than its code, but a core room never at the loader."""
    for include in file.includes:
        target = included_room(include)
        if target is None:
            continue
        if file.room is not None and target not in rooms_seen_by(file.room):
            allowed = (file.is_test or file.is_bench) and target[1] != "torch"
            if not (allowed and (target[0] == "lockstep" or file.room[0] == "lockstep_loader")):
                yield f"includes {include}: {'/'.join(file.room)} may not see {'/'.join(target)}"
        stem = include.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        foreign = file.room != target and file.top not in ("tests", "bench")
        shared = file.room and target in [("lockstep", room) for room in ("base", "simd", "order", "math")]
        if stem.endswith("_internal") and foreign and not shared:
            yield f"includes {include}: an _internal header serves its own room alone"
        if stem.endswith(("_vectors", "_test")) and not (file.is_test or file.is_bench):
            yield f"includes {include}: it is for tests and benchmarks"


def check_libraries(file):
    in_torch_room = file.room is not None and file.room[1] == "torch"
    of_a_torch_tool = file.path.parts[:2] == ("tools", "invariance_table")  # compares with LibTorch itself
    for include in file.includes:
        if TORCH_HEADERS.match(include):
            if file.extension == ".cu":
                yield f"includes {include}: a .cu file never includes torch"
            elif not (in_torch_room or file.top in ("trainers", "bench", "tests", "python") or of_a_torch_tool):
                yield f"includes {include}: torch stays in the torch rooms, python, trainers and bench"
        if include.startswith("boost/") and file.room != ("lockstep", "state"):
            yield f"includes {include}: Boost stays in lib/lockstep/state"
        if include.startswith(("gtest/", "gmock/")) and not file.is_test:
            yield f"includes {include}: only a test does"
        if include.startswith("benchmark/") and not file.is_bench:
            yield f"includes {include}: only a benchmark does"
        cuda_place = file.extension == ".cu" or file.stem == "cuda_check_internal"
        if CUDA_HEADERS.match(include) and not cuda_place:
            yield f"includes {include}: CUDA's headers stay in .cu files"


def check_name(file):
    if file.room is None:
        return
    last = file.stem.rsplit("_", 1)[-1]
    if last in REFUSED_SUFFIXES and "_" in file.stem:
        yield f"suffix _{last}: use {REFUSED_SUFFIXES[last]}"
    if (file.extension == ".cu") != (file.stem.endswith("_cuda") and not file.stem.endswith("_no_cuda")):
        yield "CUDA code is named <operation>_cuda.cu, and nothing else is"
    if file.stem.endswith("_no_cuda") and file.extension != ".cpp":
        yield "a stub is named <operation>_no_cuda.cpp"
    if file.stem.endswith(HEADER_SUFFIXES) and file.extension != ".h":
        yield "a _ref, _inl, _vectors or _internal file is a header"
    if not re.fullmatch(r"[a-z0-9_]+", file.stem):
        yield "file names are snake_case"


def check_words(file):
    if not file.is_test and not file.is_bench:
        for word in RANDOMNESS.findall(file.words):
            yield f"std::{word}: what it gives is left to the standard library; use lockstep::random"
        if file.room is not None:
            for match in OUTPUT.finditer(file.words):
                yield f"{match.group(0).strip()}: the library neither prints nor exits"
            if re.search(r"#\s*(if|ifdef|ifndef|elif)\b.*(__CUDACC__|__CUDA_ARCH__|LOCKSTEP_CUDA)", file.code):
                if file.stem != "host_device":
                    yield "a preprocessor switch on CUDA: the build chooses between _cuda.cu and _no_cuda.cpp"
    if UNFINISHED.search(file.text):
        yield "an unfinished mark: " + UNFINISHED.search(file.text).group(0)
    guard = r"^\s*#pragma once|^#if defined\(\w+\) == defined\(HWY_TARGET_TOGGLE\)"  # once, or once a vector target
    if file.extension == ".h" and not re.search(guard, file.text, re.MULTILINE):
        yield "a header without #pragma once"
    if file.extension == ".h" and re.search(r"^\s*using namespace\b", file.code, re.MULTILINE):
        yield "using namespace in a header"


def declared_dependencies(cmake):
    """The rooms that lockstep_room(… DEPENDS …) names, as include folders."""
    call = re.search(r"lockstep_room\s*\(([^)]*)\)", cmake)
    if call is None:
        return None
    words, taking = [], False
    for word in call.group(1).split():
        if word.isupper():
            taking = word == "DEPENDS"
        elif taking:
            words.append(word)
    return [("lockstep_loader", w[7:]) if w.startswith("loader/") else ("lockstep", w) for w in words]


def check_room(root, folder, namespace):
    """What a room must hold, and that its CMakeLists.txt says nothing that the arrows forbid."""
    room = (namespace, folder.name)
    table = CORE if namespace == "lockstep" else LOADER
    names = {path.name for path in folder.iterdir()}
    if folder.name not in table:
        yield "a room that the table of arrows does not know (docs/index.md, tests/arrows/check_arrows.py)"
    if "README.md" not in names:
        yield "no README.md: it is the room's specification"
    if not any(name.endswith("_test.cpp") for name in names):
        yield "no test"
    if "CMakeLists.txt" not in names:
        yield "no CMakeLists.txt: the room is not built"
        return
    depends = declared_dependencies((folder / "CMakeLists.txt").read_text())
    if depends is None:
        yield "CMakeLists.txt does not call lockstep_room()"
        return
    for other in depends:
        if other not in rooms_seen_by(room):
            yield f"DEPENDS names {'/'.join(other)}, which this room may not see"
    for name in names:
        if name.endswith("_cuda.cu") and name[: -len("_cuda.cu")] + "_no_cuda.cpp" not in names:
            yield f"{name} has no stub {name[: -len('_cuda.cu')]}_no_cuda.cpp"
        if name.endswith("_no_cuda.cpp") and name[: -len("_no_cuda.cpp")] + "_cuda.cu" not in names:
            yield f"{name} is a stub of nothing"


def code_files(root):
    for top in ("lib", "loader", "python", "tools", "trainers", "tests", "bench"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".cu") and path.is_file():
                yield File(root, path)


def violations(root):
    for file in code_files(root):
        for check in (check_arrows, check_libraries, check_name, check_words):
            for problem in check(file):
                yield f"{file.path}: {problem}"
    for top, namespace in (("lib", "lockstep"), ("loader", "lockstep_loader")):
        for folder in sorted((root / top / namespace).glob("*/")):
            if any(folder.iterdir()):
                for problem in check_room(root, folder, namespace):
                    yield f"{folder.relative_to(root)}: {problem}"


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "lib/lockstep").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    found = list(violations(pathlib.Path(sys.argv[1]).resolve()))
    for line in found:
        print(line)
    print(f"{len(found)} violations" if found else "the arrows hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
