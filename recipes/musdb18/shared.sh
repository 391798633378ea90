# Functions of run.sh and compare.sh, which source this file.

# Warnings about a loss and a library that no stage uses, and Lightning's about its own code.
export PYTHONWARNINGS="ignore:Asteroid's STOI loss is off,ignore:pkg_resources is deprecated"
PYTHONWARNINGS+=',ignore:`isinstance(treespec'

# Threads that wait for work sleep: busy ones slow down every other process on the machine.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY-PASSIVE}

# In locales of other encodings too: libraries written in C++ take every path for UTF-8.
export PYTHONUTF8=1

fail() { echo "error: $*" >&2; exit 1; }

# --stop-stage=1 -> --stop_stage=1: options may be written with dashes or underscores.
underscored() {
    local name=${1%%=*}
    case $name in
        --*) name=${name#--}; printf %s "--${name//-/_}${1#"--$name"}" ;;
        *) printf %s "$1" ;;
    esac
}

# A path that no command takes for an option: -songs -> ./-songs.
as_path() { [[ $1 != -* ]] || printf ./; printf %s "$1"; }

# Restrict CUDA to the GPUs of --id; train on all of them unless --devices is given.
use_gpus() {
    local commas=${id//[!,]/}
    [ -z "$id" ] || export CUDA_VISIBLE_DEVICES=$id
    if [ -n "$commas" ] && [[ " ${settings[*]-} " != *" --devices "* ]]; then
        settings+=(--devices $((${#commas} + 1)))
    fi
}

# True for the exit status of SIGHUP, SIGINT, SIGUSR1 and SIGTERM, which ask a command to stop. Other
# signals, such as SIGKILL when memory runs out, are failures.
was_interrupted() { [[ $1 =~ ^(129|130|138|143)$ ]]; }

# Run a command in the background and forward signals to it. Bash would delay a signal sent to this
# shell alone until a command in the foreground ends. Ctrl-C reaches both.
forward_signals() {
    local child= received= status=0
    trap 'received=TERM; [ -z "$child" ] || kill -TERM "$child"' TERM
    trap 'received=USR1; [ -z "$child" ] || kill -USR1 "$child"' USR1
    trap : INT
    (trap - INT && exec "$@") &
    child=$!
    [ -z "$received" ] || kill -"$received" "$child"  # received before the child was started
    while true; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break  # otherwise a signal ended the wait
    done
    trap - TERM USR1 INT
    return "$status"
}
