#!/bin/sh
# All that wants a GPU, in one go of at most 8 minutes: installs, runs the tests marked `gpu`, measures, and writes one table with device and date.
#
#     benchmarks/gpu.sh                                # on a machine with a GPU and pip's index
#     benchmarks/gpu.sh --python .venv/bin/python      # with an environment that is there already: nothing is installed
#     benchmarks/gpu.sh --python .venv/bin/python --device cpu --small      # to see that it runs
#
# Other options: --out FILE (gpu.md by default), --seconds N for all of it (480). Each part has a time of its own and is cut when that is over, or
# when all of it is: what it has printed until then stays in the table, and the parts after it have theirs. Lines go into the table as they come.
set -u
cd "$(dirname "$0")/.." || exit 1
device=cuda small= python= out=gpu.md seconds=480
while [ $# -gt 0 ]; do
    case $1 in
    --device | --python | --out | --seconds)
        [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
        case $1 in --device) device=$2 ;; --python) python=$2 ;; --out) out=$2 ;; --seconds) seconds=$2 ;; esac
        shift 2
        ;;
    --small) small=--small; shift ;;
    *) echo "unknown option $1; see the head of $0" >&2; exit 2 ;;
    esac
done
begun=$(date +%s)
failed=0
log=${out%.md}.log
: > "$log"

# part SECONDS NAME COMMAND…: run a command within its time and what is left of all; its lines that begin with a bar go into the table.
part() {
    limit=$1 name=$2
    shift 2
    left=$((begun + seconds - $(date +%s)))
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "| $name | no time was left |" >> "$out"
        failed=1
        return
    fi
    started=$(date +%s)
    timeout --kill-after=5 "$limit" "$@" > "$out.part" 2>> "$log"
    status=$?
    cat "$out.part" >> "$log"
    grep '^|' "$out.part" >> "$out"
    took=$(($(date +%s) - started))
    case $status in
    0) echo "$name: $took s" ;;
    124 | 137) echo "| $name | cut after $took s |" >> "$out"; echo "$name: cut after $took s"; failed=1 ;;
    *) echo "| $name | FAILED, see $log |" >> "$out"; echo "$name: FAILED, see $log"; failed=1 ;;
    esac
}

: > "$out"
if [ -z "$python" ]; then
    python=$(pwd)/.venv-gpu/bin/python
    if ! [ -x "$python" ]; then
        # In a shell of its own, so that it can be cut like the others.
        part 240 "installing" sh -c 'python3 -m venv .venv-gpu && .venv-gpu/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement requirements-dev.txt'
    fi
fi
PYTHONPATH=workflow/scripts:tests:benchmarks
export PYTHONPATH
where=$("$python" - "$device" <<'PY'
import platform, sys, torch
device = torch.device(sys.argv[1])
if device.type == "cuda" and not torch.cuda.is_available():
    sys.exit(f"torch {torch.__version__} sees no GPU: install a CUDA build (docs/cluster.md), or give --device cpu")
name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
print(f"{name}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}")
PY
) || { echo "$where" >&2; exit 1; }
rows=$(cat "$out")
printf '%s\n\n' "$where, $(date +%Y-%m-%d), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)${small:+, small sizes: no figures to quote}" > "$out"
printf '| what | figure |\n|---|---|\n' >> "$out"
[ -n "$rows" ] && printf '%s\n' "$rows" >> "$out"

# The last line of pytest as a row; only files with such tests are collected, since importing all others takes a minute.
part 90 "tests" sh -c '"$0" -m pytest -q -m gpu -p no:cacheprovider $(grep -rl "reason=.*GPU" tests/unit) > "$1" 2>&1; status=$?; cat "$1" >&2; echo "| tests marked gpu | $(tail -n 1 "$1") |"; rm -f "$1"; [ $status -eq 5 ] || exit $status' "$python" "$out.tests"
for what in "training 70" "kinematic 50" "scoring 50" "engine 60" "detector 60" "loading 40"; do
    set -- $what
    part "$2" "$1" "$python" benchmarks/measure_gpu.py "$1" --device "$device" $small
done
rm -f "$out.part"
echo "$(($(date +%s) - begun)) s in all" | sed 's/^/| this script | /; s/$/ |/' >> "$out"
cat "$out"
exit $failed
