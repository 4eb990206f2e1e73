"""What all jobs share: options from flags and files, error messages, a summary in JSON."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from jsonargparse import ActionYesNo, ArgumentParser

from vaeudf.errors import (
    InputError,
    VaeUdfError,
    damaged_file,
    raised_in_task,
    root_cause,
    was_interrupted,
)
from vaeudf.storage.fetching import on_this_machine
from vaeudf.storage.locations import absolute, is_local

Options = TypeVar("Options")
Summary = dict[str, Any]

_MISSING = dataclasses.MISSING
_NUMBER = re.compile(r"^-[\d.]")
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def option(default: Any = _MISSING, *, help: str) -> Any:
    """Declare an option: a field of a job's dataclass; without a default it is required."""
    return dataclasses.field(default=default, metadata={"help": help})


def path_option(default: Any = _MISSING, *, help: str, local: bool = False) -> Any:
    """Declare an option that names files or folders.

    Args:
        default: Without one it is required.
        help: What it is.
        local: Whether they must be on the machine where the job runs, and not in a store.
    """
    return dataclasses.field(default=default, metadata={"help": help, "local": local})


def path_options(options_type: type[Any]) -> dict[str, bool]:
    """Return the fields of a job's options that name files or folders; and whether local ones."""
    fields = dataclasses.fields(options_type)
    return {f.name: f.metadata["local"] for f in fields if "local" in f.metadata}


def flag_of(name: str) -> str:
    """Return the flag of an option, by its field's name."""
    return "--" + name.replace("_", "-")


def check_goes_with(options: Any, flag: str, names: Sequence[str]) -> None:
    """Refuse options that have no effect without another one.

    Args:
        options: A job's options.
        flag: The field of the option that they depend on.
        names: The fields of the options that depend on it.

    Raises:
        InputError: One of them differs from its default, and ``flag`` is not given.
    """
    if getattr(options, flag):
        return
    for name in changed(options, names):
        raise InputError(f"{name.replace('_', '-')} goes with {flag_of(flag)}; name that, too.")


def changed(options: Any, names: Sequence[str]) -> list[str]:
    """Return those of a job's options that differ from their defaults.

    Args:
        options: A job's options.
        names: The fields to look at.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    return [name for name in names if getattr(options, name) != defaults[name]]


def main(
    options_type: type[Options],
    run: Callable[[Options], Summary],
    argv: Sequence[str] | None = None,
) -> None:
    """Run a job: read its options, call ``run``, print its summary as one JSON line.

    A :class:`VaeUdfError` ends the process with its message on stderr and its exit code, anything
    else with exit code 1; ``--debug`` adds the stack trace.

    Args:
        options_type: A frozen dataclass; its fields are the flags, its docstring the help.
        run: The job.
        argv: The command line; by default this process's own.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    carry_out(lambda: run(parse(options_type, arguments)), debug=is_debug(arguments))


def is_debug(argv: Sequence[str]) -> bool:
    """Whether a job's command line asks for the stack trace of an error."""
    return "--debug" in argv


def carry_out(work: Callable[[], Summary], *, debug: bool) -> None:
    """Print the summary that work gives as one JSON line, or its error, which ends the process.

    Args:
        work: Reads options and runs a job.
        debug: Whether to show the stack trace of an error.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("vaeudf").setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        summary = work()
    except VaeUdfError as error:
        _fail(str(error), error.exit_code, debug=debug)
    except (Exception, KeyboardInterrupt) as error:
        if was_interrupted(error):
            _fail("interrupted; no partial results were left.", 130, debug=debug)
        known = raised_in_task(error) or damaged_file(error)
        if known is not None:
            _fail(str(known), known.exit_code, debug=debug)
        message = f"{type(error).__name__}: {root_cause(error)}"
        _fail(f"{message} (run again with --debug for the trace)", 1, debug=debug)
    sys.stdout.write(json.dumps(summary) + "\n")
    sys.stdout.flush()


def parse(options_type: type[Options], argv: Sequence[str]) -> Options:
    """Read a job's options from flags and, with ``--config``, from a YAML file.

    Raises:
        InputError: An option is missing or unknown, or has a wrong value.
    """
    hints = typing.get_type_hints(options_type)
    fields = dataclasses.fields(options_type)  # type: ignore[arg-type]
    lists = {flag_of(f.name) for f in fields if _is_list(hints[f.name])}
    parser = _Parser(
        prog=re.sub(r"(?<!^)(?=[A-Z])", "_", options_type.__name__).lower(),
        description=options_type.__doc__,
        allow_abbrev=False,
    )
    parser.expected = {name: _words(hint) for name, hint in hints.items()}
    parser.add_argument("--config", action="config", help="read options from a YAML file")
    groups: dict[type, Any] = {options_type: parser}
    # The job's own options come first, and then the groups that it shares with others.
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        owner = _owner(options_type, field.name)
        if owner not in groups:
            title = (owner.__doc__ or "").splitlines()[0].rstrip(".")
            groups[owner] = parser.add_argument_group(title[:1].lower() + title[1:])
        described: dict[str, Any] = {"help": field.metadata["help"]}
        if hints[field.name] is bool:
            described["action"] = ActionYesNo(no_prefix="no-")
        else:
            # As str | None, a file named #1 or ~ would be read as YAML's word for None.
            optional_text = hints[field.name] == (str | None)
            described["type"] = str if optional_text else hints[field.name]
        if field.default is _MISSING:
            described["required"] = True
        else:
            described["default"] = field.default
        groups[owner].add_argument(flag_of(field.name), **described)
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    with ExitStack() as fetched:
        found = parser.parse_args([parser.here(word, fetched) for word in _normalised(argv, lists)])
    return options_type(**{field.name: found[field.name] for field in fields})


class _Parser(ArgumentParser):
    """A parser whose errors are one line, like those of the jobs.

    Attributes:
        expected: What the value of each option should be, in words.
    """

    expected: Mapping[str, str]

    def here(self, word: str, fetched: ExitStack) -> str:
        """Return a word of the command line, with a local copy of a config file in a store.

        Args:
            word: Of the command line, normalised.
            fetched: Removes the copy.

        Raises:
            InputError: The file is not there, or cannot be read.
            StoreError: The store does not answer.
        """
        flag, _, path = word.partition("=")
        if flag != "--config":
            return word
        if is_local(path):
            return f"{flag}={absolute(path)}" if path.startswith("file:") else word
        try:
            return f"{flag}={fetched.enter_context(on_this_machine(path))}"
        except InputError as error:
            self.error(f"{flag}: {error}")

    def error(self, message: str, ex: Exception | None = None) -> typing.NoReturn:
        """Raise the parser's error as an InputError."""
        raise InputError(f"{self._plain(message)} See {self.prog} --help.") from None

    def _plain(self, message: str) -> str:
        required = re.fullmatch(r"the following arguments are required: (.*)", message)
        if required:
            flags = [flag_of(name) for name in required[1].split(", ")]
            return f"{' and '.join(flags)} {'is' if len(flags) == 1 else 'are'} required."
        about = re.fullmatch(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL)
        if about:
            name, found = about.groups()
            given = re.search(r"Given value: (.*)", found, re.DOTALL) or re.search(
                r"Got value: (.*)", found, re.DOTALL
            )
            if given and name in self.expected:
                value = given[1] if given[1].startswith(("[", "{")) else f"'{given[1]}'"
                return f"{flag_of(name)} is {value}; expected {self.expected[name]}."
            message = f"{flag_of(name)}: {found}"
        return " ".join(message.split()).rstrip(".") + "."


def _words(hint: Any) -> str:
    """Return what the values of a type are called."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, kinds))
    if typing.get_origin(hint) is list:
        return f"a list of {_PLURALS[kinds[0]]}"
    if typing.get_origin(hint) is dict:
        return "names and their values"
    return " or ".join(map(_words, kinds)) if kinds else _WORDS[hint]


def _normalised(argv: Sequence[str], lists: set[str]) -> list[str]:
    """Rewrite a command line so that jsonargparse reads it as people mean it.

    jsonargparse takes the value of ``--z -1,2`` for another flag, keeps only the last of a repeated
    list flag, and lets ``--config`` override the flags before it.
    """
    configs: list[str] = []
    others: list[str] = []
    values: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        flag = flag.removesuffix("+")  # --z+=1,2 is the parser's own way to add to a list
        if flag in lists or flag == "--config":
            if not equals and rest and not rest[0].startswith("--"):
                equals, value = "=", rest.pop(0)
            if not equals:
                others.append(word)  # the parser reports that its value is missing
            elif flag == "--config":
                configs.append(f"{flag}={value}")
            else:
                values.setdefault(flag, []).append(value)
        elif word.startswith("--") and not equals and rest and _NUMBER.match(rest[0]):
            others.append(f"{word}={rest.pop(0)}")
        else:
            others.append(word)
    repeated = [f"{flag}={json.dumps(texts, ensure_ascii=False)}" for flag, texts in values.items()]
    return configs + others + repeated


def _owner(options_type: type, name: str) -> type:
    """Return the class that an option comes from: the job's own, or a group of several jobs."""
    bases = (base for base in reversed(options_type.__mro__) if dataclasses.is_dataclass(base))
    return next(base for base in bases if name in base.__dataclass_fields__)


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) is list or any(map(_is_list, typing.get_args(hint)))


def _fail(message: str, exit_code: int, *, debug: bool) -> typing.NoReturn:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"error: {message}\n")
    sys.exit(exit_code)
