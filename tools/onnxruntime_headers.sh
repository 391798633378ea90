#!/usr/bin/env bash
# Unpack the headers of ONNX Runtime below FOLDER and print where they are. They are Debian 13's,
# whose package older releases lack; apt's own lists and packages stay as they are.
#
#   tools/onnxruntime_headers.sh FOLDER
set -euo pipefail

folder=$(cd "$1" && pwd)
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
echo "deb http://deb.debian.org/debian trixie main" > "$folder/sources"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$folder/sources" -o Dir::Etc::SourceParts=-
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
cd "$folder"
"${apt[@]}" update >&2
"${apt[@]}" download libonnxruntime-dev >&2
dpkg -x libonnxruntime-dev_*.deb "$folder/unpacked"
echo "$folder/unpacked/usr/include/onnxruntime"
