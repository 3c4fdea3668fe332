# Sourced by setup, quickstart and test: what this project needs from the machine, and how it is obtained.
# shellcheck shell=bash

readonly kTorchVersion=2.11.0
# torch 2.11.0 asks for CUDA toolkit 13.0.2, which is these two versions of the wheels that libtorch_cpu.so is linked to.
# Its other CUDA wheels (2.5 GB) serve the GPU half of torch alone, so torch itself is installed without dependencies.
readonly -a kTorchWheels=("torch==$kTorchVersion" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

# What the Python tests import beside torch, with all that it needs and nothing that it does not. Pinned: the tests' models
# come from transformers.
readonly -a kPythonWheels=(transformers==4.57.6 huggingface-hub==0.36.0 tokenizers==0.22.2 safetensors==0.8.0 numpy==2.4.6
  regex==2026.11.15 packaging==26.3 pyyaml==6.0.3 tqdm==4.70.1 requests==2.34.2 charset-normalizer==3.5.2 idna==3.20
  urllib3==2.8.0 certifi==2026.10.18 expecttest==0.3.0 filelock==4.2.11 fsspec==2026.9.0 jinja2==3.1.6 markupsafe==3.0.4
  mpmath==1.3.0 networkx==3.6.1 sympy==1.14.0 typing-extensions==4.16.0)
# Libraries of torch's GPU half | the wheel that holds each. pip's torch does not start in Python without them, on the CPU
# either; those that a CUDA toolkit on this machine brings are not downloaded.
readonly -a kCudaWheels=(
  "libcublas.so.13|nvidia-cublas==13.1.0.3"
  "libcudnn.so.9|nvidia-cudnn-cu13==9.19.0.56"
  "libcufft.so.12|nvidia-cufft==12.0.0.61"
  "libcufile.so.0|nvidia-cufile==1.15.1.6"
  "libcurand.so.10|nvidia-curand==10.4.0.35"
  "libcusparse.so.12|nvidia-cusparse==12.6.3.3"
  "libcusparseLt.so.0|nvidia-cusparselt-cu13==0.8.0"
  "libnccl.so.2|nvidia-nccl-cu13==2.28.9"
  "libnvJitLink.so.13|nvidia-nvjitlink==13.0.88"
  "libnvshmem_host.so.3|nvidia-nvshmem-cu13==3.4.5"
)
readonly kCudaLibraries=/usr/local/cuda/lib64

# Debian and Ubuntu package | how its presence is known | what it is for
readonly -a kPackages=(
  "g++|command:g++|the compiler"
  "cmake|command:cmake|the build"
  "ninja-build|command:ninja|the build"
  "pkg-config|command:pkg-config|finds the image libraries and Highway"
  "git|command:git|the commit that every program and recording names"
  "ca-certificates|file:/etc/ssl/certs/ca-certificates.crt|pip's downloads"
  "libboost-serialization-dev|header:boost/archive/basic_archive.hpp|checkpoints (Boost.Serialization)"
  "libcxxopts-dev|header:cxxopts.hpp|command line options"
  "nlohmann-json3-dev|header:nlohmann/json.hpp|--json and JSON formats"
  "libfmt-dev|header:fmt/format.h|messages and tables"
  "libhwy-dev|header:hwy/highway.h|SIMD (Highway)"
  "librandom123-dev|header:Random123/philox.h|counter-based random numbers"
  "libspng-dev|header:spng.h|PNG images"
  "libturbojpeg0-dev|header:turbojpeg.h|JPEG images"
  "zlib1g-dev|header:zlib.h|gzip files"
  "libgtest-dev|header:gtest/gtest.h|tests"
  "libgmock-dev|header:gmock/gmock.h|tests"
  "libmpfr-dev|header:mpfr.h|tests (judges the elementary functions)"
  "libbenchmark-dev|header:benchmark/benchmark.h|benchmarks"
)
# Good to have, and done without where they cannot be had.
readonly -a kOptionalPackages=(
  "ccache|command:ccache|compiles a file that did not change only once, in all build folders together"
  "dataset-fashion-mnist|file:/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz|all 70,000 images; without it the 2,500 in data/"
)
# What scripts/check uses beside the build.
readonly -a kCheckPackages=(
  "clang-format|command:clang-format|scripts/format"
  "clang-tidy|command:clang-tidy|scripts/check"
  "codespell|command:codespell|scripts/check"
  "shellcheck|command:shellcheck|scripts/check"
)

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  readonly kBold=$'\e[1m' kDim=$'\e[2m' kGreen=$'\e[32m' kRed=$'\e[31m' kPlain=$'\e[0m'
else
  readonly kBold='' kDim='' kGreen='' kRed='' kPlain=''
fi

headline() { printf '\n%s%s%s\n' "$kBold" "$*" "$kPlain"; }
note() { printf '%s%s%s\n' "$kDim" "$*" "$kPlain"; }
good() { printf '%s%s%s\n' "$kGreen" "$*" "$kPlain"; }
die() {
  printf '%s%s: %s%s\n' "$kRed" "${0##*/}" "$1" "$kPlain" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 2
}

# ---- options that setup, quickstart and test share --------------------------------------------------------------------

torch_prefix=${LOCKSTEP_TORCH_PREFIX:-}
torch_python=${LOCKSTEP_PYTHON:-}
jobs=$(nproc)
want_torch=yes
want_check_tools=no
want_python=no

# shellcheck disable=SC2034  # used by those who source this file
readonly kSharedHelp='  --torch PREFIX       use this LibTorch: an unpacked libtorch folder or a PyTorch site-packages/torch, 2.9 or
                       newer (also: LOCKSTEP_TORCH_PREFIX in the environment)
  --python INTERPRETER use the torch of this Python (also: LOCKSTEP_PYTHON)
  --jobs N             compile N files at a time (default: one for each core)
  --help               this text'

# Takes one shared option off "$@": sets `taken` to the number of words it used, 0 when the option is not a shared one.
take_shared_option() {
  taken=2
  case $1 in
    --torch=* | --python=* | --jobs=*)
      local rest=$taken
      take_shared_option "${1%%=*}" "${1#*=}"
      taken=$((rest - 1))
      return
      ;;
    --torch) torch_prefix=${2:-} ;;
    --python) torch_python=${2:-} ;;
    --jobs | -j) jobs=${2:-} ;;
    *) taken=0 ;;
  esac
  ((taken == 0)) && return
  [[ -n ${2:-} ]] || die "$1 needs a value" "see: ${0##*/} --help"
  [[ $jobs =~ ^[1-9][0-9]*$ ]] || die "--jobs: expected a positive number, got $jobs"
}

# ---- packages ---------------------------------------------------------------------------------------------------------

present() {
  local path
  case $1 in
    command:*) command -v "${1#*:}" >/dev/null ;;
    file:*) [[ -e ${1#*:} ]] ;;
    header:*)
      for path in /usr/include /usr/local/include /usr/include/*-linux-gnu; do
        [[ -e $path/${1#*:} ]] && return 0
      done
      return 1
      ;;
  esac
}

# Sets `missing` to the rows of the given tables whose package is not there.
find_missing() {
  missing=()
  local row probe
  for row in "$@"; do
    probe=${row#*|}
    present "${probe%%|*}" || missing+=("$row")
  done
}

# Sets `administrator` to the words that run a command as root; fails where nothing can.
find_administrator() {
  administrator=()
  ((EUID == 0)) && return 0
  command -v sudo >/dev/null || return 1
  if [[ -t 0 ]] || sudo -n true 2>/dev/null; then
    administrator=(sudo)
    return 0
  fi
  return 1
}

list_rows() {
  local row rest
  for row in "$@"; do
    rest=${row#*|}
    printf '  %-28s %s\n' "${row%%|*}" "${rest#*|}"
  done
}

apt_updated=no
apt_install() {
  local -a apt=("${administrator[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  if [[ $apt_updated == no ]]; then
    "${apt[@]}" update >"$log" 2>&1 || note "apt-get update reported trouble; going on with the lists at hand"
    apt_updated=yes
  fi
  "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1
}

install_packages() {
  local required=("${kPackages[@]}")
  [[ $want_check_tools == yes ]] && required+=("${kCheckPackages[@]}")
  find_missing "${required[@]}"
  local needed=("${missing[@]}")
  find_missing "${kOptionalPackages[@]}"
  local optional=("${missing[@]}")
  ((${#needed[@]} + ${#optional[@]} == 0)) && return

  headline "Packages to install with apt"
  list_rows "${needed[@]}" "${optional[@]}"
  local names=("${needed[@]%%|*}") optional_names=("${optional[@]%%|*}")
  if ! command -v apt-get >/dev/null; then
    ((${#needed[@]} == 0)) && return
    die "this machine has no apt-get" "install what the list above names with your own package manager, and call again"
  fi
  if ! find_administrator; then
    ((${#needed[@]} == 0)) && { note "skipped: neither root nor sudo"; return; }
    die "neither root nor sudo, so nothing was installed. Have an administrator run:" \
      "apt-get update" "apt-get install -y --no-install-recommends ${names[*]} ${optional_names[*]}"
  fi
  if ((${#needed[@]} > 0)) && ! apt_install "${names[@]}"; then
    tail -n 5 "$log" >&2
    die "apt-get install failed; its whole output is in $log. To see it directly:" \
      "${administrator[*]} apt-get install -y --no-install-recommends ${names[*]}"
  fi
  hash -r
  find_missing "${required[@]}"
  ((${#missing[@]} == 0)) || die "apt-get succeeded, and yet this is not found: ${missing[*]%%|*}" \
    "is another version of it, or another PATH, in the way? Looked for: ${missing[*]}"
  if ((${#optional[@]} > 0)) && ! apt_install "${optional_names[@]}"; then
    note "not available here, going on without: ${optional_names[*]}"
  fi
}

# Debian 12 and Ubuntu 24.04 bring new enough tools; a machine that is older is told before it meets a compiler error.
check_tools() {
  local found
  found=$(cmake --version | sed -n '1s/[^0-9]*//p')
  at_least 3.25 "$found" || die "cmake $found is too old: 3.25 or newer is needed"
  found=$(${CXX:-g++} -dumpfullversion -dumpversion)
  if [[ ${CXX:-g++} == *g++* ]]; then
    at_least 12 "$found" || die "g++ $found is too old: 12 or newer is needed" "name another compiler with CXX=..."
  fi
}

at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

# ---- LibTorch ---------------------------------------------------------------------------------------------------------

prefix_of_python() {
  "$1" -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null
}

version_of_prefix() {
  local file numbers
  for file in "$1"/include/torch/headeronly/version.h "$1"/include/torch/csrc/api/include/torch/version.h; do
    [[ -e $file ]] || continue
    numbers=$(sed -n -E 's/^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+)$/\2/p' "$file" | paste -sd.)
    printf '%s\n' "$numbers"
    return
  done
}

# Says why the LibTorch in $1 cannot be used; silent when it can.
trouble_with_prefix() {
  local needed version lost
  for needed in include/torch/csrc/api/include/torch/torch.h lib/libtorch_cpu.so lib/libc10.so; do
    [[ -e $1/$needed ]] || { echo "$1 holds no $needed"; return; }
  done
  version=$(version_of_prefix "$1")
  at_least 2.9 "${version:-0}" || { echo "$1 is LibTorch ${version:-of unknown version}; 2.9 or newer is needed"; return; }
  lost=$(ldd "$1/lib/libtorch_cpu.so" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | paste -sd' ')
  [[ -z $lost ]] || echo "$1/lib/libtorch_cpu.so misses $lost"
}

find_venv_python() {
  local python
  for python in python3 /usr/bin/python3; do
    "$python" -c 'import ensurepip, venv' 2>/dev/null && { echo "$python"; return; }
  done
}

make_venv() {
  local python
  [[ -x .venv/bin/python ]] && return
  python=$(find_venv_python)
  if [[ -z $python ]]; then
    headline "Packages to install with apt"
    list_rows "python3-venv||the environment that torch's wheel is unpacked into"
    { command -v apt-get >/dev/null && find_administrator && apt_install python3-venv; } ||
      die "python3 has no venv module. Have an administrator run:" "apt-get install -y python3-venv"
    python=/usr/bin/python3
  fi
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' ||
    die "torch $kTorchVersion has wheels for Python 3.10 to 3.14, and $python is $("$python" -V)" \
      "name a LibTorch of your own with --torch PREFIX, or another Python's torch with --python INTERPRETER"
  "$python" -m venv .venv || die "could not make .venv with $python; its own words are above"
}

pip_install() {
  local attempt progress=off
  [[ -t 1 ]] && progress=on
  for attempt in 1 2 3; do
    .venv/bin/python -m pip install --no-deps --no-input --disable-pip-version-check --retries 5 --progress-bar $progress \
      "$@" > >(if [[ $progress == on ]]; then tee "$log"; else cat >"$log"; fi) 2>&1 && return
    note "pip failed (attempt $attempt of 3)"
    sleep $((attempt * 5))
  done
  tail -n 5 "$log" >&2
  die "pip could not install torch; its whole output is in $log. Try it by hand:" \
    ".venv/bin/python -m pip install --no-deps ${kTorchWheels[*]}" \
    "or use a LibTorch that you have: --torch PREFIX"
}

# Sets `torch_prefix`: the one that the user names, else that of .venv, installed when it is not there.
provide_torch() {
  local trouble
  if [[ -z $torch_prefix && -n $torch_python ]]; then
    command -v "$torch_python" >/dev/null || die "--python: $torch_python is no program"
    torch_prefix=$(prefix_of_python "$torch_python")
    [[ -n $torch_prefix ]] || die "--python: $torch_python has no torch" "install one into it, or leave --python out"
  fi
  if [[ -n $torch_prefix ]]; then
    torch_prefix=$(cd "$OLDPWD" && realpath -m -- "$torch_prefix")  # as the caller wrote it, before the script's own cd
    trouble=$(trouble_with_prefix "$torch_prefix")
    [[ -z $trouble ]] || die "$trouble" "name the folder that holds include/ and lib/ of LibTorch 2.9 or newer"
    return
  fi
  [[ -x .venv/bin/python ]] && torch_prefix=$(prefix_of_python .venv/bin/python)
  if [[ -n $torch_prefix && $(version_of_prefix "$torch_prefix") == "$kTorchVersion" &&
    -z $(trouble_with_prefix "$torch_prefix") ]]; then
    return
  fi
  headline "Wheels to install with pip, into .venv"
  list_rows "torch $kTorchVersion||LibTorch: headers and CPU library (530 MB to download, once)" \
    "nvidia-cuda-runtime, -cupti||two small libraries that libtorch_cpu.so is linked to, with and without a GPU"
  make_venv
  pip_install "${kTorchWheels[@]}"
  torch_prefix=$(prefix_of_python .venv/bin/python)
  trouble=$(trouble_with_prefix "$torch_prefix")
  [[ -z $trouble ]] || die "after the installation: $trouble" "remove .venv and call again"
}

# What the Python tests need, in the .venv that holds torch; a Python of the user's own is left as it is. Without these the
# tests are reported as skipped. want_python=small leaves them out where it takes gigabytes.
provide_python() {
  local python=.venv/bin/python row
  [[ -x $python && $torch_prefix == "$(prefix_of_python $python)" ]] || return 0
  local -a wheels=() lost=()
  "$python" -c 'import importlib.util as u, sys
sys.exit(not all(map(u.find_spec, ("transformers", "tokenizers", "expecttest", "numpy", "sympy", "jinja2"))))' ||
    wheels=("${kPythonWheels[@]}")
  mapfile -t lost < <(LD_LIBRARY_PATH=$kCudaLibraries ldd "$torch_prefix/lib/libtorch_python.so" |
    sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | sort -u)
  if [[ $want_python == small && " ${lost[*]} " == *" libcublas"* ]]; then
    note "Python tests will be skipped: without a CUDA toolkit, torch for Python takes 2.5 GB more (scripts/setup --python-tests)"
    return
  fi
  for row in "${kCudaWheels[@]}"; do
    [[ " ${lost[*]} " != *" ${row%%|*} "* ]] || wheels+=("${row#*|}")
  done
  ((${#wheels[@]} > 0)) || return 0
  headline "Wheels to install with pip, into .venv, for the Python tests"
  list_rows "transformers and what it needs||the models of the tests" "${lost[@]/%/||a library without which torch does not start in Python}"
  pip_install "${wheels[@]}"
}

# Everything above, in order. Quick and quiet when nothing is to do.
set_up() {
  log=$(mktemp -t lockstep-setup.XXXXXX)
  install_packages
  check_tools
  [[ $want_torch == no ]] || provide_torch
  [[ $want_torch == no || $want_python == no ]] || provide_python
  rm -f "$log"
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache}
  fi
}

# ---- building ---------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2034  # used by those who source this file
readonly kBuildLog=build/build.log

# configure PRESET: CMake, quiet unless it fails.
configure() {
  local -a options=()
  [[ $want_torch == no ]] || options=("-DLOCKSTEP_TORCH_PREFIX=$torch_prefix")
  mkdir -p build
  cmake --preset "$1" "${options[@]}" >build/configure.log 2>&1 && return
  tail -n 40 build/configure.log >&2
  die "CMake failed; its whole output is in build/configure.log"
}

# build_targets PRESET LOG TARGET…: one line of progress on a terminal, everything in the log.
build_targets() {
  local preset=$1 log_file=$2
  shift 2
  if [[ -t 1 ]]; then
    NINJA_STATUS='[%f/%t] ' cmake --build "build/$preset" --parallel "$jobs" --target "$@" 2>&1 | tee "$log_file" |
      awk -v columns="$(tput cols 2>/dev/null || echo 80)" \
        '/^\[[0-9]+\/[0-9]+\]/ { printf "\r\033[K%s", substr($0, 1, columns - 1); fflush() } END { printf "\r\033[K" }'
  else
    cmake --build "build/$preset" --parallel "$jobs" --target "$@" >"$log_file" 2>&1
  fi && return
  grep -E -A 12 'error:|FAILED:|undefined reference' "$log_file" | head -n 60 >&2 || tail -n 40 "$log_file" >&2
  die "the build failed; its whole output is in $log_file"
}

# show COMMAND…: the command as a person would type it, then what it does.
show() {
  note "\$ $*"
  "$@"
}
