#!/usr/bin/env bash
# The paper's comparison: train each system on the same amount of music, score all, make a table.
#
#   bash recipes/musdb18/compare.sh                            small systems on generated songs
#   bash recipes/musdb18/compare.sh --data DIR                 small systems on your own songs
#   bash recipes/musdb18/compare.sh --data musdb18hq --full    the paper's sizes, for a GPU
#
# Each system is an experiment of run.sh, exp/TAG_SYSTEM. The table is exp/TAG/table.md; it lists
# all systems that have scores, those of earlier commands included, and measures their costs anew.
# Running the same command again skips finished work and resumes training. If a system fails, the
# others are still trained, and the failed ones are listed at the end.
#
#   --data NAME|DIR      demo, musdb18, musdb18hq, or a folder in MUSDB18's layout (default: demo)
#   --systems "A B"      only these systems (default: all, see the list below in this file)
#   --minutes M          minutes of music to train each system on (default: 20; with --full 6000)
#   --full               full size, segments, batches and learning rates of the configurations
#   --tag NAME           name of the comparison, one per data set and budget (default: compare)
#   --storage DIR        folder for data/ and exp/ (default: the folder of this script)
#   --accept_license, --id N[,N...], --devices N, --python_path FILE     as in run.sh
#   --SETTING VALUE      any setting of the configuration, for all systems
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

data=demo storage=$here python_path= tag=compare id= chosen= minutes= full=false accept=false
options=() settings=()

. "$here/shared.sh"

while [ $# -gt 0 ]; do
    set -- "$(underscored "$1")" "${@:2}"
    case $1 in
        --help | -h) sed -n -e '/^set/q' -e 's/^# \{0,1\}//p' "$0" | sed 1d; exit 0 ;;
        --full) full=true; shift; continue ;;
        --accept_license) accept=true options+=("$1"); shift; continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --*) [ $# -gt 1 ] || fail "$1 needs a value" ;;
        *) fail "'$1' is not an option; see --help" ;;
    esac
    case ${1#--} in
        data | storage | python_path | tag | id | minutes) printf -v "${1#--}" %s "$2" ;;
        systems) chosen=${2//,/ } ;;
        conf | stage | stop_stage) fail "$1 is an option of run.sh only" ;;
        *) settings+=("$1" "$2") ;;
    esac
    shift 2
done
storage=$(as_path "$storage")
python_path=$(as_path "$python_path")
[ ! -d "$(as_path "$data")" ] || data=$(as_path "$data")
[[ $tag =~ ^[^./-][^/]*$ ]] || fail "--tag '$tag' cannot name a folder"
use_gpus

# Settings of all systems. Early stopping is off: the schedule needs all of its epochs.
if [ "$full" = true ]; then
    epochs=20 minutes=${minutes:-6000}
    small= stereo= mono= wave= spectrogram= tasnet= mrcae=
else
    epochs=3 minutes=${minutes:-20}
    small="--gradient_clip 5 --num_workers 0 --logger csv --listen_every 0"
    # A length that all systems can output: 2.2 s at 22050 Hz, 6 s at 8192 Hz (half of the paper's
    # excerpts for U7 and M7, for twice as many steps).
    stereo="--segment_length 48896 --batch_size 2"
    mono="--segment_length 48896 --batch_size 1"
    # About half a million weights each, and the best learning rate found (see RESULTS.md).
    wave="--levels 8 --initial_filters 16 --filter_growth 8 --lr 7.0e-4"
    # Batch normalisation's averages have to follow some 200 steps.
    spectrogram="--initial_filters 3 --norm_decay 0.9 --lr 5.0e-3"
    tasnet="--n_filters 128 --kernel_size 32 --bn_chan 64 --hid_chan 128 --skip_chan 64 --n_repeats 2"
    mrcae="--filters 4 --lr 5.0e-3"
fi
common="--schedule one_cycle --fine_tuning false --max_epochs $epochs --patience 1000 --remix 0.5"
common+=" --augmentation [wide_gains,swap_channels,flip_signs] --fast true $small"

# Name, configuration, options. NAME_seamless is not trained: it has the weights of NAME, scored in
# one pass over each track instead of consecutive segments.
systems=(
    "m4               m4            $common $stereo $wave"
    "m5               m5            $common $stereo $wave"
    "m4_transposed    m4_transposed $common $stereo $wave"
    "m4_direct        m4            $common $stereo $wave --output direct"
    "m4_same          m4_same       $common $stereo $wave"
    "m4_same_seamless m4_same       $common $stereo $wave --prediction seamless"
    "tasnet           tasnet        $common $stereo $tasnet"
    "tasnet_mse       tasnet_mse    $common $stereo $tasnet"
    "mrcae            mrcae         $common $stereo $mrcae"
    "m7               m7            $common $mono $wave"
    "u7               u7            $common $mono $spectrogram"
    "u7a              u7a           $common $mono $spectrogram"
)

names=$(printf '%s\n' "${systems[@]}" | cut -d ' ' -f 1)
for name in $chosen; do
    grep -qxF -e "$name" <<< "$names" || fail "unknown system '$name'; known are" $names
done
is_chosen() { [ -z "$chosen" ] || [[ " $chosen " == *" $1 "* ]]; }

if [ -z "$python_path" ]; then
    bash "$root/tools/make_env.sh" "$root/.venv" experiment
    python_path=$root/.venv/bin/python
fi

# share_weights FROM TO: make an experiment with the weights and settings of another.
share_weights() {
    [ -f "$storage/exp/$1/best_model.pth" ] || fail "there are no weights of $1 yet"
    mkdir -p "$storage/exp/$2" || exit
    for part in conf.yml best_model.pth logs; do
        ln -sfn "../$1/$part" "$storage/exp/$2/$part" || exit
    done
}

run_system() {
    local name=$1 conf=$2 first=0
    shift 2
    if [[ $name == *_seamless ]]; then
        first=3
        (share_weights "${tag}_${name%_seamless}" "${tag}_$name") || return
    fi
    forward_signals bash "$here/run.sh" --conf "$conf" --data "$data" --tag "${tag}_$name" --storage "$storage" \
        --python_path "$python_path" --stage "$first" --stop_stage 3 \
        ${options[@]+"${options[@]}"} "$@" ${settings[@]+"${settings[@]}"}
}

rows=$(for row in "${systems[@]}"; do ! is_chosen "${row%% *}" || echo "$row"; done)
[ -n "$rows" ] || fail "--systems is empty; known are" $names
planned=$(ACCEPT_LICENSE=$accept "$python_path" "$here/compare.py" plan --minutes "$minutes" \
    --data "$data" --storage "$storage" --tag "$tag" \
    ${settings[@]+"${settings[@]}"} <<< "$rows")

failed=
while read -r -a row <&3; do
    echo "=== ${row[0]}"
    status=0
    run_system "${row[@]}" || status=$?
    ! was_interrupted "$status" || exit "$status"  # it has printed how to resume
    [ "$status" -eq 0 ] || failed+=" ${row[0]}"
done 3<<< "$planned"

scored=()
for name in $names; do
    [[ " $failed " == *" $name "* ]] || [ ! -f "$storage/exp/${tag}_$name/scores/summary.json" ] ||
        scored+=("$name")
done
status=0
forward_signals "$python_path" "$here/compare.py" table --storage "$storage" --tag "$tag" \
    ${scored[@]+"${scored[@]}"} || status=$?
[ -z "$failed" ] || fail "these systems failed and are not in the table:$failed;" \
    "fix the errors above and run the same command to resume"
exit "$status"
