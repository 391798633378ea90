# What the recipe's shell scripts share; sourced by them.

# Of a loss and a library that no stage uses, and of Lightning's to itself.
export PYTHONWARNINGS="ignore:Asteroid's STOI loss is off,ignore:pkg_resources is deprecated"
PYTHONWARNINGS+=',ignore:`isinstance(treespec'

fail() { echo "error: $*" >&2; exit 1; }

# --stop-stage=1 -> --stop_stage=1: options may be written with dashes or underscores.
underscored() {
    local name=${1%%=*}
    case $name in
        --*) name=${name#--}; printf %s "--${name//-/_}${1#"--$name"}" ;;
        *) printf %s "$1" ;;
    esac
}

# Makes the GPUs of --id those that there are; several train together.
use_gpus() {
    local commas=${id//[!,]/}
    [ -z "$id" ] || export CUDA_VISIBLE_DEVICES=$id
    if [ -n "$commas" ] && [[ " ${settings[*]-} " != *" --devices "* ]]; then
        settings+=(--devices $((${#commas} + 1)))
    fi
}

# Whether a command that ended so was asked to, by SIGHUP, SIGINT, SIGUSR1 or SIGTERM. What others
# end, such as a kernel without memory, has failed.
was_asked() { [[ $1 =~ ^(129|130|138|143)$ ]]; }

# Runs a command in the background, so that a signal to this shell alone reaches it at once: bash
# would keep it until a command in the foreground is over. Ctrl-C reaches both.
relay() {
    local child= asked= status=0
    trap 'asked=TERM; [ -z "$child" ] || kill -TERM "$child"' TERM
    trap 'asked=USR1; [ -z "$child" ] || kill -USR1 "$child"' USR1
    trap : INT
    (trap - INT && exec "$@") &
    child=$!
    [ -z "$asked" ] || kill -"$asked" "$child"  # asked before there was a child to tell
    while true; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break  # or else it was a signal that ended the wait
    done
    trap - TERM USR1 INT
    return "$status"
}
