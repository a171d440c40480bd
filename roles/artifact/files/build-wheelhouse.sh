#!/bin/sh
# Collect every wheel of the locks in DIRECTORY into DIRECTORY/wheelhouse.tar.
# The last two lines say what was done and how long it took, and the archive's SHA-256.
# usage: build-wheelhouse.sh DIRECTORY PYTHON
set -eu
started=$(date +%s)
cd "$1"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 NO_COLOR=1

"$2" -m venv tools
tools/bin/pip install --quiet --require-hashes --requirement build.txt
# Hosts install with this very pip, run from its wheel.
tools/bin/pip download --quiet --no-deps --require-hashes --dest tools/wheels --requirement build.txt
mkdir wheels
cp tools/wheels/pip-*.whl wheels/
# Without isolation uWSGI is compiled by the pinned setuptools, not by whatever is newest today.
tools/bin/pip wheel --quiet --no-deps --no-build-isolation --require-hashes --wheel-dir wheels --requirement server.txt
tools/bin/pip wheel --quiet --no-deps --require-hashes --wheel-dir wheels --requirement application.txt
if [ -d distribution ]; then
    tools/bin/pip wheel --quiet --no-deps --wheel-dir wheels distribution/*
fi
tar --create --file wheelhouse.tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory wheels .
echo "$(find wheels -name '*.whl' | wc -l) wheels in $(($(date +%s) - started)) s"
sha256sum wheelhouse.tar | cut -d' ' -f1
