"""The completions for bash, zsh and fish, made of every command's options (tests/commands.py)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from pbmond.fields import FIELDS
from tests.commands import PROGRAMS, Command, Option, of_program

_PLACE: Final = Path(__file__).parents[1] / "packaging/completions"
_MADE: Final = "# Made by `python -m tests.pages` of the options of {}, not by hand."


def _wrapped(words: Iterable[str], indent: str) -> str:
    """Return words as indented lines; a long option is never broken."""
    return "\n".join(
        textwrap.wrap(
            " ".join(words),
            96,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
    )


def _fields() -> str:
    return _wrapped(sorted(FIELDS), "    ")


def _has_fields(program: str) -> bool:
    own, _ = of_program(program)
    return any(option.values == "fields" for option in own.options)


# --- bash ---------------------------------------------------------------------------------------

#: What fills COMPREPLY; anything else fills "choices".
_BASH_FILLS: Final = {
    "files": "compgen -f",
    "directories": "compgen -d",
    "users": "compgen -u",
}


def _function(command: Command) -> str:
    return "_" + command.name.replace("-", "_")


def _bash_choices(option: Option, program: str) -> str:
    if option.values == "fields":
        return f"${_function(of_program(program)[0])}_fields"
    if option.values == "pids":
        return "$(cd /proc && echo [0-9]*)"
    if option.values == "paths":
        return "$(pbmond selftest --list 2>/dev/null | cut -d' ' -f1)"
    return f"'{' '.join(option.choices)}'"


def _bash_values(command: Command) -> list[str]:
    """Return the branches that complete the value of an option."""
    fills: dict[str, list[str]] = {}
    choices: dict[str, list[str]] = {}
    for option in command.options:
        if option.metavar is None:
            continue
        if option.values in _BASH_FILLS:
            fills.setdefault(_BASH_FILLS[option.values], []).extend(option.flags)
        else:
            words = _bash_choices(option, command.program)
            choices.setdefault(words, []).extend(option.flags)
    lines = []
    for fill, flags in fills.items():
        names = [] if fill.endswith("-u") else ["            compopt -o filenames"]
        lines += [f"        {' | '.join(flags)})", *names,
                  f'            mapfile -t COMPREPLY < <({fill} -- "$word")',
                  "            return", "            ;;"]  # fmt: skip
    for words, flags in choices.items():
        lines.append(f"        {' | '.join(flags)}) choices={words} ;;")
    return lines


def _bash_arguments(command: Command) -> list[str]:
    """Return the lines that complete what is no option."""
    kinds = {_BASH_FILLS[argument.values] for argument in command.arguments}
    if not kinds:
        return []
    # Files among them are completed as files: a directory is one.
    fill = _BASH_FILLS["files"] if len(kinds) > 1 else kinds.pop()
    return ["            if [[ $word != -* ]]; then", "                compopt -o filenames",
            f'                mapfile -t COMPREPLY < <({fill} -- "$word")',
            "                return", "            fi"]  # fmt: skip


def _bash_function(command: Command) -> str:
    commands, at = command.commands, len(command.words) + 1
    offered = [each.words[-1] for each in commands]
    offered += [option.flags[-1] for option in command.options]
    name = _function(command)
    lines = [f"{name}() {{", "    local word=${COMP_WORDS[COMP_CWORD]} choices"]
    if commands:
        words = " | ".join(each.words[-1] for each in commands)
        lines += [f"    if ((COMP_CWORD > {at})); then", f"        case ${{COMP_WORDS[{at}]}} in",
                  f"            {words})", f'                "{name}_${{COMP_WORDS[{at}]}}"',
                  "                return", "                ;;", "        esac",
                  "    fi"]  # fmt: skip
    lines += ["    case ${COMP_WORDS[COMP_CWORD - 1]} in", *_bash_values(command), "        *)",
              *_bash_arguments(command),
              "            choices='", _wrapped(offered, " " * 16), "            '",
              "            ;;", "    esac",
              '    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")', "}"]  # fmt: skip
    return "\n".join(lines)


def bash(program: str) -> str:
    """Return the file for bash."""
    own, commands = of_program(program)
    parts = [f"# Bash completion for {program}: /usr/share/bash-completion/completions/{program}",
             _MADE.format(program), "# shellcheck shell=bash", ""]  # fmt: skip
    if _has_fields(program):
        parts += [f"{_function(own)}_fields='", _fields(), "'", ""]
    for command in (own, *commands):
        parts += [_bash_function(command), ""]
    return "\n".join([*parts, f"complete -F {_function(own)} {program}\n"])


# --- zsh ----------------------------------------------------------------------------------------

_ZSH_VALUES: Final = {
    "files": "_files",
    "directories": "_directories",
    "pids": "_pids",
    "users": "_users",
    "fields": "($fields)",
    "paths": '($(pbmond selftest --list 2>/dev/null | cut -d" " -f1))',
}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_option(option: Option) -> str:
    about = option.summary.replace("[", r"\[").replace("]", r"\]")
    value = ""
    if option.metavar is not None:
        values = _ZSH_VALUES.get(option.values) or (
            f"({' '.join(option.choices)})" if option.choices else " "
        )
        value = f":{option.metavar.strip('/').replace(':', '')}:{values}"
    others = [*option.excludes, *(option.flags if len(option.flags) > 1 else ())]
    before = "(- *)" if option.ends else f"({' '.join(others)})" if others else ""
    before = "*" if option.repeats else before
    after = f"[{about}]{value}"
    if len(option.flags) > 1:
        return f"{_quoted(before)}{{{','.join(option.flags)}}}{_quoted(after)}"
    return _quoted(f"{before}{option.flags[0]}{after}")


def _zsh_arguments(command: Command, indent: str) -> str:
    specs = [
        _quoted(f"{place}:{argument.metavar}:{_ZSH_VALUES[argument.values]}")
        for place, argument in enumerate(command.arguments, 1)
    ]
    if command.commands:
        offered = " ".join(rf'{each.words[-1]}\:"{each.about}"' for each in command.commands)
        specs.append(f"'1::command:(({offered}))'")
    specs += [_zsh_option(option) for option in command.options]
    return f" \\\n{indent}    ".join([f"{indent}_arguments", *specs])


def _zsh_branches(command: Command, indent: str) -> list[str]:
    """Return a branch for each command of a command, with the branches of its own in it."""
    lines = []
    for each in command.commands:
        lines += [f"{indent}if [[ $words[2] == {each.words[-1]} ]]; then",
                  f"{indent}    shift words", f"{indent}    ((CURRENT--))",
                  *_zsh_branches(each, f"{indent}    "), _zsh_arguments(each, f"{indent}    "),
                  f"{indent}    return", f"{indent}fi", ""]  # fmt: skip
    return lines


def zsh(program: str) -> str:
    """Return the file for zsh."""
    own, _ = of_program(program)
    parts = [f"#compdef {program}", f"# Zsh completion for {program}: in a directory of $fpath.",
             _MADE.format(program), "", *_zsh_branches(own, "")]  # fmt: skip
    if _has_fields(program):
        parts += ["local -a fields=(", _fields(), ")"]
    return "\n".join([*parts, _zsh_arguments(own, ""), ""])


# --- fish ---------------------------------------------------------------------------------------

_FISH_VALUES: Final = {
    "files": "-r -F",
    "directories": "-x -a '(__fish_complete_directories)'",
    "pids": "-x -a '(__fish_complete_pids)'",
    "users": "-x -a '(__fish_complete_users)'",
    "fields": '-x -a "$fields"',
    "paths": "-x -a '(pbmond selftest --list | string replace \"  \" \\t)'",
}


def _fish_option(option: Option, program: str, whose: str) -> str:
    words = ["complete", "-c", program, "-n", f'"${whose}"']
    for flag in option.flags:
        words += ["-l", flag[2:]] if flag.startswith("--") else ["-s", flag[1:]]
    if option.metavar is not None:
        chosen = f"-x -a '{' '.join(option.choices)}'" if option.choices else "-x"
        words.append(_FISH_VALUES.get(option.values, chosen))
    about = option.summary.replace("\\", "\\\\").replace("'", "\\'")
    return " ".join([*words, "-d", f"'{about}'"])


def _fish_is(command: Command) -> str:
    """Return the condition that a line is of a command, and of none of its own."""
    function = f"__{command.program.replace('-', '_')}_is"
    parts = [f"not {function} {' '.join(each.words)}" for each in command.commands]
    if command.words:
        parts.insert(0, f"{function} {' '.join(command.words)}")
    return "; and ".join(parts)


def _fish_commands(command: Command, whose: str) -> list[str]:
    """Return the lines that offer its commands, and those for what is no option."""
    start = f'complete -c {command.program} -n "${whose}"'
    lines = [f"{start} -a {each.words[-1]} -d '{each.about}'" for each in command.commands]
    return lines + [f"{start} -F"] * bool(command.arguments)


def fish(program: str) -> str:
    """Return the file for fish."""
    own, commands = of_program(program)
    # What is typed after the program begins with the words of a command.
    parts = [
        f"# Fish completion for {program}: /usr/share/fish/vendor_completions.d/{program}.fish",
        _MADE.format(program),
        f"function __{program.replace('-', '_')}_is",
        "    set -l typed (commandline -opc)",
        "    set -e typed[1]",
        '    string match -q -- "$argv *" "$typed "',
        "end",
        f"complete -c {program} -f",
    ]
    names = {command: "_".join(["in", *command.words]) for command in commands}
    names[own] = "own"  # $history is fish's
    parts += [f"set -l {names[each]} '{_fish_is(each)}'" for each in (own, *commands)]
    if _has_fields(program):
        parts += ["set -l fields '", _fields(), "'"]
    for each in (own, *commands):
        parts += _fish_commands(each, names[each])
    for each in (own, *commands):
        parts += [_fish_option(option, program, names[each]) for option in each.options]
    return "\n".join([*parts, ""])


_FORMS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("{}.bash", bash),
    ("_{}", zsh),
    ("{}.fish", fish),
)


def files() -> dict[Path, str]:
    """Return the text of each file, by its path."""
    return {
        _PLACE / name.format(program): make(program)
        for program in PROGRAMS
        for name, make in _FORMS
    }
