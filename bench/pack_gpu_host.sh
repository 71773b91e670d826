#!/bin/bash
# bench/pack_gpu_host.sh FILE.tar.xz: all that bench:gpu-host needs on a Linux host that has a GPU driver
# and nothing else, no network either: the committed tree, this `deno` with its npm packages, Dawn, and
# the Vulkan loader where apt-get has it. There:
#
#     tar xf FILE.tar.xz && quire-gpu-host/repo/bench/run_gpu_host.sh [--quick]
set -euo pipefail
file=$(realpath -m "${1:?usage: pack_gpu_host.sh FILE.tar.xz}")
root=$(cd "$(dirname "$0")/.." && pwd)
deno=$(realpath "$(command -v deno)")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
host="$work/quire-gpu-host"
mkdir -p "$host/repo"

git -C "$root" archive HEAD | tar x -C "$host/repo"
git -C "$root" rev-parse --short HEAD >"$host/commit"
# npm's `deno` may be a script that starts the binary of this platform beside it.
[ "$(head -c 4 "$deno" | tail -c 3)" = ELF ] || { echo "$deno is no binary: put one on PATH" >&2; exit 1; }
cp "$deno" "$host/deno"
# What is imported by the benches and by the tests that run there.
(cd "$host/repo" && DENO_DIR="$host/deno-dir" "$deno" cache -q main.ts bench/*.ts tests/{device,kernels,models,runner}/*_test.ts)
# Dawn, for a second pass with matrix units: of its addons, this platform's alone.
dawn=$(sed -n 's/.*DAWN_PACKAGE = "\(.*\)".*/\1/p' "$root/src/device/dawn_provider.ts")
if (cd "$host/repo" && npm install --silent --no-save "$dawn" >/dev/null); then
  platform=$(node -p 'process.platform + "-" + process.arch')
  find "$host/repo/node_modules/webgpu/dist" -mindepth 1 -maxdepth 1 -type d ! -name "$platform" \
    -exec rm -rf {} +
else
  echo "npm's $dawn is not packed: there will be no pass on Dawn" >&2
fi
if ! (cd "$work" && apt-get -qq download libvulkan1 && dpkg -x libvulkan1_*.deb "$host/loader"); then
  echo "no Vulkan loader packed: the host must have one" >&2
fi
tar c -C "$work" quire-gpu-host | xz -T0 -6 >"$file"
ls -lh "$file"
