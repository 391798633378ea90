#!/usr/bin/env bash
# Train, score and publish a music source separation model.
#
#   bash recipes/musdb18/run.sh                              a small model on generated songs
#   bash recipes/musdb18/run.sh --data DIR                   a small model on your own songs
#   bash recipes/musdb18/run.sh --conf m4 --data musdb18hq   the paper's M4 on MUSDB18-HQ
#
# Stages: 0 data, 1 prepare, 2 train, 3 evaluate, 4 publish. Stage 4 packs a folder for the Hugging
# Face Hub and uploads it if --repo_id user/name is given. Running the same command again skips
# finished work and resumes training. SIGTERM and Ctrl-C save a checkpoint first. Option names may be
# written with dashes or underscores.
#
#   --conf NAME|FILE     configuration: a name from conf/ (demo, small, real, free, fast, m1 ... m7,
#                        m5_highsr, m4_same, m4_transposed, u7, u7a, tasnet, tasnet_mse, mrcae) or a YAML file
#                        (default: demo; small with --data; the experiment's own configuration
#                        if only --tag of an existing experiment is given)
#   --data NAME|DIR      demo, free, musdb18, musdb18hq, musdb18_7, ccmixter, or a folder in MUSDB18's
#                        layout with .stem.mp4 or audio files; the musdb18 sets are downloaded if missing
#   --accept_license     accept the licences of downloaded data (without it, they are shown)
#   --stage N            first stage to run (default: 0)
#   --stop_stage N       last stage to run (default: 4)
#   --tag NAME           name of the experiment (default: names of configuration and data)
#   --storage DIR        folder for data/ and exp/ (default: the folder of this script)
#   --id N[,N...]        GPUs to use (default: the first; -1: CPU); several train together
#   --devices N          number of GPUs, each with batches of batch_size (default: as in --id, or 1)
#   --resume             fail unless there is a checkpoint to resume from
#   --python_path FILE   Python with asteroid-waveunet[experiment] (default: creates .venv)
#   --SETTING VALUE      any setting of the configuration, for example --levels 8 --batch_size 4
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
        --*) [ $# -gt 1 ] || fail "$1 needs a value" ;;
        *) fail "'$1' is not an option; see --help" ;;
    esac
    case ${1#--} in
        conf | data | stage | stop_stage | tag | storage | id | python_path)
            printf -v "${1#--}" %s "$2" ;;
        *) settings+=("$1" "$2") ;;
    esac
    shift 2
done

storage=$(as_path "$storage")
conf=$(as_path "$conf")
python_path=$(as_path "$python_path")
[ ! -d "$(as_path "$data")" ] || data=$(as_path "$data")

for number in "$stage" "$stop_stage"; do
    [[ $number =~ ^[0-4]$ ]] || fail "stage is '$number'; expected 0, 1, 2, 3 or 4"
done
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage is after --stop_stage $stop_stage"
if [ -z "$conf$data" ] && [ -n "$tag" ] && [ -f "$storage/exp/$tag/conf.yml" ]; then
    conf=$storage/exp/$tag/conf.yml
fi
[ -n "$conf" ] || conf=$([ -z "$data" ] && echo demo || echo small)
[ -f "$conf" ] || conf=$here/conf/$conf.yml
if [ -n "$data" ]; then
    settings+=(--dataset "$data")
    data_name=$(basename -- "$(CDPATH= cd -- "$data" 2>/dev/null && pwd || echo "$data")")
fi
tag=${tag:-$(basename -- "$conf" .yml)${data:+_$data_name}}
[[ $tag =~ ^[^./-][^/]*$ ]] || fail "--tag '$tag' cannot name a folder"
if [ -z "$python_path" ]; then
    bash "$root/tools/make_env.sh" "$root/.venv" experiment
    python_path=$root/.venv/bin/python
fi
use_gpus
export RESUME=$resume ACCEPT_LICENSE=$accept STOP_STAGE=$stop_stage PYTHONUNBUFFERED=1

exp_dir=$storage/exp/$tag
folders=(--exp_dir "$exp_dir" --data_dir "$storage/data")
"$python_path" "$here/configure.py" "${folders[@]}" --conf "$conf" ${settings[@]+"${settings[@]}"}

names=(data prepare train evaluate publish)
for ((n = stage; n <= stop_stage; n++)); do
    echo "== stage $n: ${names[n]}"
    forward_signals "$python_path" "$here/${names[n]}.py" "${folders[@]}" || {
        status=$?
        ! was_interrupted "$status" || exit "$status"  # it has printed how to resume
        fail "stage $n (${names[n]}) failed; fix the error above and run the same command to resume"
    }
done

if [ "$stop_stage" -ge 3 ]; then
    echo
    cat "$exp_dir/scores/scores.md"
fi
echo
echo "Experiment        $exp_dir"
[ "$stop_stage" -lt 2 ] ||
    echo "Training curves   $(dirname -- "$python_path")/tensorboard --logdir '$exp_dir/logs'"
[ "$stop_stage" -lt 3 ] || echo "Scores            $exp_dir/scores/scores.md, and a JSON file per track"
[ "$stop_stage" -lt 3 ] || echo "Report            $exp_dir/report/index.html"
[ "$stop_stage" -lt 4 ] || echo "For the Hub       $exp_dir/published"
if [ -z "$data" ]; then
    echo "On MUSDB18        bash $here/run.sh --conf m4 --data musdb18hq"
fi
