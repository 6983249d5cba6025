#!/bin/sh
# Builds the fuzz targets on stable Rust, without cargo-fuzz, and runs one of them, or each in turn.
#
#   rust/fuzz/run.sh TARGET|all SECONDS [libFuzzer option | input file]...
#
# Each target runs for SECONDS. What it learns stays in corpus/TARGET, an input that fails in artifacts/TARGET; to run
# such an input again: run.sh TARGET 0 artifacts/TARGET/crash-…
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 TARGET|all SECONDS [libFuzzer option | input file]..." >&2
    exit 2
fi
target=$1
seconds=$2
shift 2
cd "$(dirname "$0")"

targets=$(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"$|\1|p' Cargo.toml)
if [ "$target" != all ]; then
    if ! echo "$targets" | grep -qx -e "$target"; then
        echo "$0: no target '$target'; there are: all" $targets >&2
        exit 2
    fi
    targets=$target
fi

# What cargo-fuzz passes, less the sanitizers, which need a nightly compiler. With --target, build scripts and macros
# are built without these.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions"
export RUSTFLAGS
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target}/fuzz
export CARGO_TARGET_DIR
for name in $targets; do
    cargo build --locked --release --target "$host" --bin "$name"
done

# run NAME [option | file]...
run() {
    name=$1
    shift
    binary=$CARGO_TARGET_DIR/$host/release/$name
    set -- -artifact_prefix="artifacts/$name/" -timeout=10 -rss_limit_mb=2048 "$@"
    mkdir -p "corpus/$name" "artifacts/$name"
    if [ "$seconds" = 0 ]; then
        "$binary" "$@"
        return
    fi
    if [ -f "dictionaries/$name.dict" ]; then
        set -- -dict="dictionaries/$name.dict" "$@"
    fi
    set -- "$@" "corpus/$name"
    if [ -d "seeds/$name" ]; then
        set -- "$@" "seeds/$name"
    fi
    "$binary" -max_total_time="$seconds" -verbosity=0 -print_final_stats=1 "$@"
}

for name in $targets; do
    echo "== $name"
    run "$name" "$@"
done
