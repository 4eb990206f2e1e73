"""What every job does with its flags, its config file, its summary and its errors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from vaeudf.errors import (
    BundleError,
    InputError,
    PublishConflict,
    TableError,
    TooManyFailures,
)
from vaeudf.workflows.cli import main, option, parse


@dataclass(frozen=True)
class PressShirts:
    """Press shirts, 100 % flat."""

    table: str = option(help="where they lie, about 5% of them")
    latent_dim: int = option(10, help="number of creases")
    heat: float = option(0.5, help="degrees")
    z: list[str] | None = option(None, help='a vector, "0.1,-2,…"; repeat it for more')
    sizes: list[int] = option((), help="sizes to take")
    queries: str | None = option(None, help="a file")
    z_bound: float | None = option(None, help="how far")
    fabric: Literal["wool", "silk"] = option("wool", help="what of")
    dry_run: bool = option(False, help="touch nothing")
    starch: bool = option(True, help="make them stiff")


DEFAULTS = PressShirts("x", 10, 0.5, None, (), None, None, "wool", False, True)


@pytest.fixture(autouse=True)
def logging_as_before():
    level = logging.getLogger("vaeudf").level
    yield
    logging.captureWarnings(False)
    logging.getLogger("vaeudf").setLevel(level)


def parsed(*argv):
    """The fields that differ from the defaults."""
    found = vars(parse(PressShirts, argv))
    return {name: found[name] for name in found if found[name] != vars(DEFAULTS)[name]}


def refusal(*argv):
    """What is said of options that are wrong."""
    with pytest.raises(InputError) as caught:
        parse(PressShirts, argv)
    found, help = str(caught.value).rsplit(" See ", 1)
    assert help == "press_shirts --help." and "\n" not in found
    return found


# ---- flags


def test_defaults():
    assert parse(PressShirts, ["--table", "x"]) == DEFAULTS


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--latent-dim", "3"], {"latent_dim": 3}),
        (["--latent-dim=3"], {"latent_dim": 3}),
        (["--latent-dim", "-3"], {"latent_dim": -3}),
        (["--latent-dim=-3"], {"latent_dim": -3}),
        (["--heat", "-.5"], {"heat": -0.5}),
        (["--heat", "-1e-3"], {"heat": -1e-3}),
        (["--heat", "2"], {"heat": 2.0}),
        (["--z-bound", "-4"], {"z_bound": -4.0}),
        (["--queries", "-1.csv"], {"queries": "-1.csv"}),
        (["--queries", "-.csv"], {"queries": "-.csv"}),
        (["--fabric", "silk"], {"fabric": "silk"}),
        (["--dry-run"], {"dry_run": True}),
        (["--no-dry-run"], {}),
        (["--no-starch"], {"starch": False}),
    ],
)
def test_flags(argv, expected):
    assert parsed("--table", "x", *argv) == expected
    assert parsed(*argv, "--table", "x") == expected


@pytest.mark.parametrize(
    "text",
    ["007", "null", "true", "1e3", "a: b", "[a]", "{}", "'q'", "a b", "é", "#x", "-1", "~", "a=b"],
)
def test_text_is_kept_letter_by_letter(text):
    assert parse(PressShirts, ["--table", text]).table == text
    assert parse(PressShirts, [f"--table={text}"]).table == text
    assert parse(PressShirts, ["--table", "x", "--z", text]).z == [text]
    assert parse(PressShirts, ["--table", "x", "--queries", text]).queries == text


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--z", "-1,2"], ["-1,2"]),
        (["--z=-1,2"], ["-1,2"]),
        (["--z", "1"], ["1"]),
        (["--z", "0.1,-2,0", "--z=-1,2", "--z", "-3,4"], ["0.1,-2,0", "-1,2", "-3,4"]),
        (["--z", "1,2", "--latent-dim", "3", "--z", "1,2"], ["1,2", "1,2"]),
        (["--z", "[0.1,-2]", "--z", "(3,4)"], ["[0.1,-2]", "(3,4)"]),
        (["--z=", "--z=a=b", "--z", "👕 \"q\" \\"], ["", "a=b", "👕 \"q\" \\"]),
        (["--z", "1", "--z+=2", "--z+", "3"], ["1", "2", "3"]),
    ],
)  # fmt: skip
def test_a_list_flag_is_repeated(argv, expected):
    assert parse(PressShirts, ["--table", "x", *argv]).z == expected


def test_a_list_of_numbers():
    assert parsed("--table", "x", "--sizes", "-1", "--sizes=2") == {"sizes": [-1, 2]}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--table is required."),
        (["--latent-dim", "3"], "--table is required."),
        (["--table", "x", "--nope", "1"], "unrecognized arguments: --nope 1."),
        (["--table", "x", "stray"], "unrecognized arguments: stray."),
        (["--table", "x", "--latent_dim", "3"], "unrecognized arguments: --latent_dim 3."),
        (["--table", "x", "--latent", "3"], "unrecognized arguments: --latent 3."),
        (["--table", "x", "--size", "3"], "unrecognized arguments: --size 3."),
        (
            ["--table", "x", "--latent-dim", "2.5"],
            "--latent-dim is '2.5'; expected a whole number.",
        ),
        (["--table", "x", "--latent-dim="], "--latent-dim is ''; expected a whole number."),
        (["--table", "x", "--latent-dim"], "argument --latent-dim: expected one argument."),
        (["--table", "x", "--heat", "hot"], "--heat is 'hot'; expected a number."),
        (["--table", "x", "--z-bound", "far"], "--z-bound is 'far'; expected a number."),
        (["--table", "x", "--sizes", "M"], "--sizes is 'M'; expected a list of whole numbers."),
        (["--table", "x", "--z"], "argument --z/--z+: expected one argument."),
        (["--table", "x", "--z", "--dry-run"], "argument --z/--z+: expected one argument."),
        (["--table", "x", "--config"], "argument --config: expected one argument."),
        (["--table", "x", "--fabric", "tweed"], "--fabric is 'tweed'; expected wool or silk."),
        (["--table", "x", "--dry-run", "yes"], "unrecognized arguments: yes."),
        (["--table", "x", "--config", "/n.yaml"], "--config: File does not exist: '/n.yaml'."),
    ],
)
def test_flags_that_are_wrong(argv, message):
    assert refusal(*argv) == message


def test_a_job_ends_with_what_is_wrong_in_one_line(capsys, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        main(PressShirts, lambda options: {}, ["--table", "x", "--heat", "hot"])
    message = "error: --heat is 'hot'; expected a number. See press_shirts --help.\n"
    assert (caught.value.code, *capsys.readouterr()) == (2, "", message)


# ---- the config file


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return str(path)

    return write


FULL = """
table: shirts
latent_dim: -3
heat: 1.5
z: ["1,2", '-3,4']
sizes: [4, -5]
fabric: silk
dry_run: true
queries: null
"""
FULL_PARSED = {
    "table": "shirts",
    "latent_dim": -3,
    "heat": 1.5,
    "z": ["1,2", "-3,4"],
    "sizes": [4, -5],
    "fabric": "silk",
    "dry_run": True,
}


def test_options_from_a_config_file(config):
    path = config(FULL)
    assert parsed("--config", path) == parsed(f"--config={path}") == FULL_PARSED
    dashes = FULL.replace("latent_dim", "latent-dim").replace("dry_run", "dry-run")
    assert parsed("--config", config(dashes)) == FULL_PARSED


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--latent-dim", "7"], {"latent_dim": 7}),
        (["--z", "9,9"], {"z": ["9,9"]}),
        (["--z", "9,9", "--z", "-8,8"], {"z": ["9,9", "-8,8"]}),
        (["--table=other", "--heat", "-2"], {"table": "other", "heat": -2.0}),
        (["--no-dry-run", "--no-starch"], {"dry_run": False, "starch": False}),
    ],
)
def test_flags_override_the_config_file_wherever_they_stand(config, flags, expected):
    path = config(FULL)
    for argv in (["--config", path, *flags], [*flags, "--config", path]):
        found = vars(parse(PressShirts, argv))
        assert found == {**vars(DEFAULTS), **FULL_PARSED, **expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table: x\nlatent: 3\n", "Option 'latent' is not accepted."),
        ("table: x\nzz: {a: 1}\n", "Option 'zz.a' is not accepted."),
        ("latent_dim: 3\n", "--table is required."),
        ("table: 3\n", "--table is '3'; expected text."),
        ("table: x\nlatent_dim: '3a'\n", "--latent-dim is '3a'; expected a whole number."),
        ("table: x\nz: 1,2\n", "--z is '1,2'; expected a list of texts."),
        ("table: x\nz: [[1, 2]]\n", "--z is [[1, 2]]; expected a list of texts."),
        ("table: x\nfabric: tweed\n", "--fabric is 'tweed'; expected wool or silk."),
        ("table: x\ndry_run: 3\n", "Value not boolean: 3."),
        ("table: x\ndry_run: [true]\n", "Value not boolean: [True]."),
        ("- table\n", "Unexpected config: - table."),
    ],
)
def test_config_files_that_are_wrong(config, text, message):
    assert refusal("--config", config(text)) == message


def test_names_and_values(config):
    @dataclass(frozen=True)
    class Options:
        """Check."""

        settings: dict[str, Any] | None = option(None, help="names and values")

    found = parse(Options, ["--config", config("settings: {a: 1, b: [x]}")])
    assert found.settings == {"a": 1, "b": ["x"]}
    with pytest.raises(InputError, match=r"^--settings is '3'; expected names and their values\. "):
        parse(Options, ["--config", config("settings: 3")])


def test_a_config_file_that_is_no_yaml(config):
    found = refusal("--config", config("table: ["))
    assert found.startswith("Problems parsing config: ") and "line 2, column 1" in found


@pytest.mark.parametrize("text", ["false", "no", "'no'", "'false'", "off"])
def test_no_spelling_of_false_is_taken_for_true(config, text):
    assert parsed("--config", config(f"table: x\ndry_run: {text}\n")) == {}


# ---- help


def test_help_lists_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(PressShirts, ["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: press_shirts [")
    for words in (
        "Press shirts, 100 % flat.",
        "--config CONFIG read options from a YAML file",
        "--table TABLE where they lie, about 5% of them (required, type: str)",
        "--latent-dim LATENT_DIM number of creases (type: int, default: 10)",
        "--heat HEAT degrees (type: float, default: 0.5)",
        'a vector, "0.1,-2,…"; repeat it for more (type: list[str] | null, default: null)',
        "sizes to take (type: list[int], default: ()",
        "--queries QUERIES a file (type: str, default: null)",
        "--z-bound Z_BOUND how far (type: float | null, default: null)",
        "--fabric {wool,silk} what of (type: Literal['wool', 'silk'], default: wool)",
        "--dry-run, --no-dry-run touch nothing (type: bool, default: False)",
        "--starch, --no-starch make them stiff (type: bool, default: True)",
        "--debug show the stack trace of an error",
    ):
        assert words in text, words


# ---- running


def run(capsys, job, *argv):
    """Return (exit code or None, stdout, stderr) of a job."""
    code = None
    try:
        main(PressShirts, job, ["--table", "x", *argv])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def failing(error):
    def job(options):
        raise error

    return job


def test_the_summary_is_one_line_of_json(capsys):
    code, out, err = run(capsys, lambda options: {"k": options.latent_dim, "é": "a\nb", "n": None})
    assert code is None and err == ""
    assert out.endswith("\n") and out.count("\n") == 1
    assert json.loads(out) == {"k": 10, "é": "a\nb", "n": None}


def test_the_command_line_is_the_default(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["job.py", "--table", "t", "--dry-run"])
    main(PressShirts, lambda options: {"table": options.table, "dry_run": options.dry_run})
    assert json.loads(capsys.readouterr().out) == {"table": "t", "dry_run": True}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InputError, 2),
        (BundleError, 2),
        (TableError, 2),
        (TooManyFailures, 3),
        (PublishConflict, 4),
    ],
)
def test_known_errors_are_a_message_and_their_code(capsys, kind, code):
    message = "the shirt is torn; mend it.\nSecond line."
    assert run(capsys, failing(kind(message))) == (code, "", f"error: {message}\n")


def test_an_option_that_refuses_its_value(capsys):
    @dataclass(frozen=True)
    class Options:
        """Check."""

        k: int = option(1, help="count")

        def __post_init__(self):
            if self.k < 1:
                raise InputError(f"k is {self.k}; expected at least 1.")

    with pytest.raises(SystemExit) as caught:
        main(Options, lambda options: {}, ["--k", "-2"])
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "error: k is -2; expected at least 1.\n")


@pytest.mark.parametrize("place", [0, 2])
def test_debug_adds_the_trace(capsys, place):
    argv = ["--heat", "2"]
    argv.insert(place, "--debug")
    code, out, err = run(capsys, failing(InputError("torn.")), *argv)
    assert (code, out) == (2, "")
    assert err.startswith("Traceback (most recent call last):") and "in job" in err
    assert err.endswith("InputError: torn.\nerror: torn.\n")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RuntimeError("\n\n  first\nsecond\n\tat java.lang.Thread"), "RuntimeError: first"),
        (KeyError("x"), "KeyError: 'x'"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (AssertionError(), "AssertionError: no message"),
    ],
)
def test_unexpected_errors_are_one_line(capsys, error, shown):
    code, out, err = run(capsys, failing(error))
    assert (code, out) == (1, "")
    assert err == f"error: {shown} (run again with --debug for the trace)\n"
    code, out, err = run(capsys, failing(error), "--debug")
    assert (code, out) == (1, "") and err.startswith("Traceback")


@pytest.mark.parametrize("cause", [None, RuntimeError("another")])
def test_an_error_that_is_what_became_of_ctrl_c(capsys, cause):
    def job(options):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if cause is None:
                raise RuntimeError("Gateway must be connected to send cancel cmd.") from None
        raise RuntimeError("afterwards") from cause

    code, out, err = run(capsys, job)
    assert (code, out) == ((130, "") if cause is None else (1, ""))
    assert err.startswith("error: interrupted; " if cause is None else "error: RuntimeError: after")


FROM_A_TASK = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/lib/pyspark/worker.py", line 3000, in process
    serializer.dump_stream(out_iter, outfile)
  File "/srv/vaeudf/query/bulk.py", line 103, in _to_matrix
    raise InputError(
vaeudf.errors.InputError: item 'a: 1' has a mu that is null, NaN or infinite.

JVM stacktrace:
org.apache.spark.SparkException: Job aborted due to stage failure
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages
"""


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InputError", 2),
        ("BundleError", 2),
        ("TableError", 2),
        ("DeviceError", 2),
        ("TooManyFailures", 3),
        ("PublishConflict", 4),
    ],
)
def test_an_error_of_a_spark_task_is_only_its_message(capsys, kind, code):
    error = RuntimeError(FROM_A_TASK.replace("InputError", kind))
    message = "error: item 'a: 1' has a mu that is null, NaN or infinite.\n"
    assert run(capsys, failing(error)) == (code, "", message)
    found, _, err = run(capsys, failing(error), "--debug")
    assert found == code and err.startswith("Traceback") and err.endswith(message)


def test_of_errors_of_a_task_the_last_one_counts(capsys):
    handling = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
    error = RuntimeError(FROM_A_TASK.replace("a: 1", "b") + handling + FROM_A_TASK)
    assert run(capsys, failing(error))[2].startswith("error: item 'a: 1' has")


def test_text_that_only_speaks_of_such_an_error_is_not_one(capsys):
    error = RuntimeError("cannot import\n  see vaeudf.errors.InputError: that one")
    assert run(capsys, failing(error))[0] == 1


def test_a_job_in_its_own_process():
    """Warnings and the log go to stderr: stdout is the summary alone."""
    code = (
        "import logging, warnings\n"
        "from dataclasses import dataclass\n"
        "from vaeudf.workflows.cli import main, option\n"
        "@dataclass(frozen=True)\n"
        "class Job:\n"
        "    'Work.'\n"
        "    k: int = option(1, help='count')\n"
        "def job(options):\n"
        "    warnings.warn('odd shirt')\n"
        "    logging.getLogger('vaeudf.press').info('pressing %d', options.k)\n"
        "    logging.getLogger('other').info('chatter')\n"
        "    return {'k': options.k}\n"
        "main(Job, job)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "--k", "3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '{"k": 3}\n')
    assert "odd shirt" in done.stderr and "pressing 3\n" in done.stderr
    assert "chatter" not in done.stderr


def test_an_interrupt_is_one_line(capsys):
    def run(options):
        raise KeyboardInterrupt

    @dataclass(frozen=True)
    class Nothing:
        """Do nothing."""

    with pytest.raises(SystemExit) as stopped:
        main(Nothing, run, [])
    assert stopped.value.code == 130
    expected = "error: interrupted; no partial results were left.\n"
    assert capsys.readouterr().err == expected


# ---- options that several jobs share


@dataclass(frozen=True, kw_only=True)
class Ironing:
    """The iron."""

    steam: bool = option(False, help="wet")
    plate: str | None = option(None, help="of what")


@dataclass(frozen=True)
class PressAll(Ironing):
    """Press everything."""

    table: str = option(help="where it lies")
    heat: int = option(3, help="how hot")


def test_a_group_of_options_is_read_as_others(config):
    assert parse(PressAll, ["--plate", "~", "--table", "t"]) == PressAll("t", plate="~")
    path = config("table: t\nsteam: true\nheat: 4\n")
    assert parse(PressAll, ["--config", path]) == PressAll("t", 4, steam=True)
    with pytest.raises(InputError, match=r"^--table is required\. "):
        parse(PressAll, ["--steam"])


def test_a_group_of_options_has_a_title_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse(PressAll, ["--help"])
    own, group = capsys.readouterr().out.split("\nthe iron:\n")
    assert "where it lies" in own and "how hot" in own and "--debug" in own
    assert "wet" in group and "of what" in group
