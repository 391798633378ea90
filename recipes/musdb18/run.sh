#!/usr/bin/env bash
# Trains, scores and packs a Wave-U-Net.
#
#   bash recipes/musdb18/run.sh                                  a small one on generated songs
#   bash recipes/musdb18/run.sh --data DIR                       a small one on songs of your own
#   bash recipes/musdb18/run.sh --conf m4 --data musdb18hq       the paper's M4 on MUSDB18-HQ
#
# Stages: 0 data, 1 prepare, 2 train, 3 evaluate, 4 publish (a folder ready for the Hub; with
# --repo_id user/name, on the Hub). What is done is skipped when the command is run again; a training
# that was killed goes on. SIGTERM and Ctrl-C save it first.
#
#   --conf NAME|FILE     a file of conf/ (demo, small, fast, m1 ... m7, m5_highsr; m4_same,
#                        m4_transposed, u7, u7a, tasnet, tasnet_mse, mrcae) or other
#                        (demo; small with --data; an experiment's own if it has begun and
#                        only its --tag is given)
#   --data NAME|DIR      demo, musdb18, musdb18hq, ccmixter, or a folder in MUSDB18's layout, stems
#                        or wav; musdb18 and musdb18hq are downloaded if they are not there
#   --accept_license     accept the terms of what is downloaded; without it, they are shown
#   --stage N            the first stage to run (0)
#   --stop_stage N       the last one (4)
#   --tag NAME           the experiment's name (the configuration's and the data's)
#   --storage DIR        where data/ and exp/ are written (beside this script)
#   --id N[,N...]        the GPUs to use (the first; -1: the CPU); several train together
#   --devices N          so many GPUs at once, each with batches of batch_size (as many as --id
#                        names, or 1)
#   --resume             insist on going on from a checkpoint
#   --python_path FILE   a Python with asteroid-waveunet[experiment] (a .venv is made if not given)
#   --SETTING VALUE      any setting of the configuration, such as --levels 8 --batch_size 4
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

conf= data= stage=0 stop_stage=4 tag= storage=$here id= resume=false accept=false python_path=
settings=()

. "$here/shared.sh"

while [ $# -gt 0 ]; do
    set -- "$(underscored "$1")" "${@:2}"
    case $1 in
        --help | -h) sed -n -e '/^set/q' -e 's/^# \{0,1\}//p' "$0" | sed 1d; exit 0 ;;
        --resume) resume=true; shift; continue ;;
        --accept_license) accept=true; shift; continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --*) [ $# -gt 1 ] || fail "$1 lacks its value" ;;
        *) fail "'$1' is no option; --help lists them" ;;
    esac
    case ${1#--} in
        conf | data | stage | stop_stage | tag | storage | id | python_path)
            printf -v "${1#--}" %s "$2" ;;
        *) settings+=("$1" "$2") ;;
    esac
    shift 2
done

for number in "$stage" "$stop_stage"; do
    [[ $number =~ ^[0-4]$ ]] || fail "stage '$number' is none of 0, 1, 2, 3, 4"
done
[ "$stage" -le "$stop_stage" ] || fail "stage $stage comes after --stop_stage $stop_stage"
if [ -z "$conf$data" ] && [ -n "$tag" ] && [ -f "$storage/exp/$tag/conf.yml" ]; then
    conf=$storage/exp/$tag/conf.yml
fi
[ -n "$conf" ] || conf=$([ -z "$data" ] && echo demo || echo small)
[ -f "$conf" ] || conf=$here/conf/$conf.yml
if [ -n "$data" ]; then
    settings+=(--dataset "$data")
    data_name=$(basename "$(cd "$data" 2>/dev/null && pwd || echo "$data")")
fi
tag=${tag:-$(basename "$conf" .yml)${data:+_$data_name}}
[[ $tag =~ ^[^./-][^/]*$ ]] || fail "the tag '$tag' is no name for a folder"
if [ -z "$python_path" ]; then
    bash "$root/tools/make_env.sh" "$root/.venv" experiment
    python_path=$root/.venv/bin/python
fi
use_gpus
export RESUME=$resume ACCEPT_LICENSE=$accept PYTHONUNBUFFERED=1

exp_dir=$storage/exp/$tag
places=(--exp_dir "$exp_dir" --data_dir "$storage/data")
"$python_path" "$here/configure.py" "${places[@]}" --conf "$conf" ${settings[@]+"${settings[@]}"}

names=(data prepare train evaluate publish)
for ((n = stage; n <= stop_stage; n++)); do
    echo "== stage $n: ${names[n]}"
    relay "$python_path" "$here/${names[n]}.py" "${places[@]}" || {
        status=$?
        ! was_asked "$status" || exit "$status"  # and it said how to go on
        fail "stage $n (${names[n]}) stopped; once that is mended, the same command goes on there"
    }
done

if [ "$stop_stage" -ge 3 ]; then
    echo
    cat "$exp_dir/scores/scores.md"
fi
echo
echo "Experiment        $exp_dir"
[ "$stop_stage" -lt 2 ] ||
    echo "Training curves   $(dirname "$python_path")/tensorboard --logdir '$exp_dir/logs'"
[ "$stop_stage" -lt 3 ] || echo "Scores            $exp_dir/scores/scores.md, and a json for each track"
[ "$stop_stage" -lt 3 ] || echo "To see and hear   $exp_dir/report/index.html"
[ "$stop_stage" -lt 4 ] || echo "For the Hub       $exp_dir/published"
if [ -z "$data" ]; then
    echo "On MUSDB18        bash $here/run.sh --conf m4 --data musdb18hq"
fi
