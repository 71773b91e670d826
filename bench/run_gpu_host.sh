#!/bin/bash
# Runs bench:gpu-host out of what pack_gpu_host.sh packed, with nothing but the host's GPU driver. Takes
# its flags; the results are in bench/results/ beside this script.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
host=$(dirname "$repo")
if ! ldconfig -p | grep -q libvulkan.so.1 && [ -d "$host/loader" ]; then
  LD_LIBRARY_PATH=$(dirname "$(find "$host/loader" -name libvulkan.so.1)")
  export LD_LIBRARY_PATH
fi
QUIRE_COMMIT=$(cat "$host/commit")
export QUIRE_COMMIT DENO_DIR="$host/deno-dir" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"
cd "$repo"
exec "$host/deno" run -A --cached-only bench/gpu_host.ts "$@"
