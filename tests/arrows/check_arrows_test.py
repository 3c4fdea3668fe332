#!/usr/bin/env python3
"""Plants one violation at a time into a small tree that is right, and expects check_arrows to name it."""

import pathlib
import tempfile
import unittest

import check_arrows

RIGHT_TREE = {
    "lib/lockstep/base/README.md": "base",
    "lib/lockstep/base/CMakeLists.txt": "lockstep_room(base PRIVATE fmt::fmt)\n",
    "lib/lockstep/base/error.h": "#pragma once\n#include <string>\n",
    "lib/lockstep/base/cuda_check_internal.h": "#pragma once\n#include <cuda_runtime_api.h>\n",
    "lib/lockstep/base/error_test.cpp": "#include <gtest/gtest.h>\n",
    "lib/lockstep/template/README.md": "template",
    "lib/lockstep/template/CMakeLists.txt": "lockstep_room(template DEPENDS base)\n",
    "lib/lockstep/template/template.h": '#pragma once\n#include "lockstep/base/error.h"\n',
    "lib/lockstep/template/template_cuda.cu": '#include "lockstep/base/cuda_check_internal.h"\n',
    "lib/lockstep/template/template_no_cuda.cpp": "int stub;\n",
    "lib/lockstep/template/template_test.cpp": "#include <gtest/gtest.h>\n",
    "loader/lockstep_loader/dataset/README.md": "dataset",
    "loader/lockstep_loader/dataset/CMakeLists.txt": "lockstep_room(dataset NAMESPACE lockstep_loader DEPENDS base random)\n",
    "loader/lockstep_loader/dataset/dataset.h": '#pragma once\n#include "lockstep/base/error.h"\n',
    "loader/lockstep_loader/dataset/dataset_test.cpp": "#include <gtest/gtest.h>\n",
    "tools/say/main.cpp": '#include "lockstep/base/error.h"\n// std::shuffle in a comment is no use of it\n',
    "trainers/go/main.cpp": "#include <torch/torch.h>\n",
}

# What is planted: path, content (None: the file is removed), words that the report must hold.
VIOLATIONS = [
    ("lib/lockstep/base/bad.h", '#pragma once\n#include "lockstep/record/model.h"\n', "base may not see lockstep/record"),
    ("lib/lockstep/base/bad.cpp", '#include "lockstep_loader/dataset/dataset.h"\n', "may not see lockstep_loader/dataset"),
    ("lib/lockstep/base/bad_test.cpp", '#include "lockstep_loader/dataset/dataset.h"\n', "may not see lockstep_loader"),
    ("loader/lockstep_loader/dataset/bad.cpp", '#include "lockstep/template/template.h"\n', "may not see lockstep/template"),
    ("loader/lockstep_loader/dataset/bad.cpp", '#include "lockstep_loader/batch/batch.h"\n', "may not see lockstep_loader/batch"),
    ("lib/lockstep/template/bad.cpp", "#  include <torch/torch.h>\n", "torch stays in"),
    ("lib/lockstep/template/bad.cpp", "#include <ATen/ATen.h>\n", "torch stays in"),
    ("lib/lockstep/torch/bad_cuda.cu", "#include <torch/torch.h>\n", "a .cu file never includes torch"),
    ("tools/say/bad.cpp", "#include <torch/torch.h>\n", "torch stays in"),
    ("lib/lockstep/template/bad.cpp", "#include <boost/serialization/nvp.hpp>\n", "Boost stays in"),
    ("lib/lockstep/template/bad.cpp", "#include <gtest/gtest.h>\n", "only a test does"),
    ("lib/lockstep/template/bad.cpp", "#include <cuda_runtime.h>\n", "stay in .cu files"),
    ("trainers/go/bad.cpp", '#include "lockstep/template/template_internal.h"\n', "serves its own room alone"),
    ("loader/lockstep_loader/dataset/bad.cpp", '#include "lockstep/state/archive_internal.h"\n', "serves its own room alone"),
    ("lib/lockstep/template/bad.cpp", '#include "lockstep/template/template_vectors.h"\n', "it is for tests and benchmarks"),
    ("lib/lockstep/template/template_gpu.cpp", "int x;\n", "suffix _gpu: use _cuda"),
    ("lib/lockstep/template/string_utils.h", "#pragma once\n", "suffix _utils"),
    ("lib/lockstep/template/kernel.cu", "int x;\n", "is named <operation>_cuda.cu"),
    ("lib/lockstep/template/other_cuda.cpp", "int x;\n", "is named <operation>_cuda.cu"),
    ("lib/lockstep/template/template_no_cuda.cpp", None, "has no stub"),
    ("lib/lockstep/template/template_cuda.cu", None, "is a stub of nothing"),
    ("lib/lockstep/template/template_ref.cpp", "int x;\n", "is a header"),
    ("lib/lockstep/template/Bad.cpp", "int x;\n", "snake_case"),
    ("lib/lockstep/template/bad.cpp", "void f() { std::shuffle(a, b, c); }\n", "std::shuffle"),
    ("trainers/go/bad.cpp", "std::uniform_int_distribution<int> d;\n", "std::uniform_int_distribution"),
    ("lib/lockstep/template/bad.cpp", 'void f() { std::cerr << "x"; }\n', "neither prints nor exits"),
    ("lib/lockstep/template/bad.cpp", "#ifdef LOCKSTEP_CUDA\n#endif\n", "preprocessor switch on CUDA"),
    ("lib/lockstep/template/bad.cpp", "// TODO later\n", "unfinished mark"),
    ("lib/lockstep/template/bad.h", "int x;\n", "without #pragma once"),
    ("lib/lockstep/template/bad.h", "#pragma once\nusing namespace std;\n", "using namespace in a header"),
    ("lib/lockstep/template/README.md", None, "no README.md"),
    ("lib/lockstep/template/template_test.cpp", None, "no test"),
    ("lib/lockstep/template/CMakeLists.txt", None, "not built"),
    ("lib/lockstep/template/CMakeLists.txt", "add_library(x)\n", "does not call lockstep_room"),
    ("lib/lockstep/template/CMakeLists.txt", "lockstep_room(template DEPENDS base record PRIVATE fmt::fmt)\n", "DEPENDS names lockstep/record"),
    ("lib/lockstep/novel/novel.h", "#pragma once\n", "the table of arrows does not know"),
]


def report(changes):
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, content in {**RIGHT_TREE, **changes}.items():
            if content is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(content)
        return list(check_arrows.violations(root))


class CheckArrows(unittest.TestCase):
    def test_the_right_tree_is_right(self):
        self.assertEqual(report({}), [])

    def test_every_planted_violation_is_named(self):
        for path, content, words in VIOLATIONS:
            with self.subTest(path=path, words=words):
                found = report({path: content})
                self.assertTrue(any(words in line for line in found), f"{words!r} not in {found}")

    def test_the_table_has_no_circle(self):
        for table in (check_arrows.CORE, check_arrows.LOADER):
            for room, below in table.items():
                for other in below:
                    self.assertNotIn(room, table[other], f"{room} and {other} see each other")


if __name__ == "__main__":
    unittest.main()
